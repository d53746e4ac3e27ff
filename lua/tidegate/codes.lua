-- The messages about configurations: a number that stays, and what `tidegate explain` tells of it.
--
-- Purpose    People search for "TG1204", so a message keeps its number whatever its wording becomes. This is
--            the one list: diagnostics.lua takes the numbers from it, report/explain.lua the texts.
-- An entry   name, number, title, what it means and what to do (lines are joined), and at will an example of
--            what is wrong and of what is right.
-- Invariants Numbers are never given twice and never taken back. Groups: 10 the script, 11 its surroundings,
--            12 values, 13 names, 14 plugin files, 15 plugin chains. spec/lua/codes_spec.lua holds the list
--            and its users together, those in C (which write the number) too.
-- Ownership  Constant data.

local codes = {}

codes.list = {
  { name = "syntax", number = "TG1001", title = "the file is not Lua", text = [[
A configuration is a Lua script, and this one does not compile. The message is the compiler's; what it
stumbles over may be a bracket or a comma that is missing some lines above.]] },
  { name = "runtime", number = "TG1002", title = "the script failed while it ran", text = [[
The line raised an error: it called or indexed what is nil, misused a function of the language, or said
error(). Nothing after that line was evaluated, so further mistakes may show once it is mended.]] },
  { name = "undeclared_global", number = "TG1003", title = "a name that does not exist", text = [[
In a configuration a global that nobody declared is an error, not nil: most are misspelt. Declare names of
your own with local; io, os, debug and what else reaches out of the file are not there on purpose.]] },
  { name = "bytecode", number = "TG1004", title = "compiled bytecode", text = [[
Only text is loaded, since bytecode can step out of the sandbox and cannot be checked. Give the source.]] },
  { name = "not_deterministic", number = "TG1005", title = "two evaluations gave two results", text = [[
The script is evaluated twice and must declare the same both times, or nobody could say what a reload will
do. The usual reasons are pairs() over tables or functions as keys, and tostring() of a table. Sort keys
before the loop.]] },
  { name = "unfinished_call", number = "TG1006", title = "a declaration without its table", text = [[
tg.route "x" alone declares nothing: the fields follow in a table.]],
    wrong = 'tg.route "x"', right = 'tg.route "x" { service = "orders" }' },
  { name = "bad_call", number = "TG1007", title = "a name that cannot be one", text = [[
Names appear in logs, metrics and the keys of state that outlives a reload. They consist of letters,
digits, ".", "_" and "-", and have at most 128 of them.]] },
  { name = "too_slow", number = "TG1008", title = "the evaluation takes too long", text = [[
A configuration is evaluated within a bound of time, so that a loop which does not end costs a message and
not the gateway. The message names the line that was running. What must be computed at length is better
computed once, by a program that writes the file.]] },
  { name = "too_large", number = "TG1009", title = "the evaluation needs too much memory", text = [[
A configuration is evaluated within a bound of memory. The message names the line that asked for more;
look for a table or a string that grows without end.]] },
  { name = "internal", number = "TG1010", title = "a defect of the checker", text = [[
The files that check configurations failed themselves. That is never the configuration's fault: please
report it with the message and the file.]] },
  { name = "no_evaluation", number = "TG1011",
    title = "the system refused what an evaluation needs", text = [[
There was not enough memory, or this LuaJIT takes no allocator of ours and so cannot be bounded. `tidegate
version` tells which LuaJIT is used; it has to be built with GC64, as it is on 64-bit machines.]] },

  { name = "unreadable_file", number = "TG1101", title = "a file cannot be read", text = [[
Paths are relative to the folder of the configuration. The message has the system's reason; the user who
runs the gateway needs permission to read the file. It must be a regular file of at most 16 MiB.]] },
  { name = "missing_environment", number = "TG1102", title = "an environment variable is not set", text = [[
tg.env without a default insists on the variable. Set it where the gateway is started, or give a default.]],
    right = 'tg.env("PORT", "8080")' },
  { name = "bad_include", number = "TG1103", title = "an include that names no file", text = [[
tg.include takes a path or a pattern below the folder of the configuration, so that the folder is all
there is to review. A pattern may match nothing, but where its folder is not there a warning says so; a plain
path must be readable.]],
    right = 'tg.include "conf.d/*.lua"' },
  { name = "bad_secret", number = "TG1104", title = "a secret that is not there, or is written out", text = [[
tg.secret takes where the secret is kept, never the secret itself, so that the configuration can be shown,
copied and kept under version control.]],
    right = 'tg.secret "env:API_KEY"  or  tg.secret "file:/run/secrets/api.key"' },

  { name = "wrong_type", number = "TG1201", title = "a value of the wrong kind", text = [[
The field takes another type. Durations and sizes are strings with units, because a bare number could mean
anything; nothing is ever string-or-table.]],
    wrong = "timeout = { connect = 30 }", right = 'timeout = { connect = "30s" }' },
  { name = "bad_value", number = "TG1202", title = "a value that is not allowed", text = [[
The type is right and the value is not: not one of those listed, not of the form that the field asks for,
or refused by a check of the schema. The message and the line below it say what is expected.]] },
  { name = "missing_field", number = "TG1203", title = "a required field is missing", text = [[
Fields are required unless their schema gives a default or calls them optional. The line below the message
tells what the field takes; `tidegate schema` prints all fields of an object or a plugin.]] },
  { name = "unknown_field", number = "TG1204", title = "a field that does not exist", text = [[
Tables are closed: a field that nobody reads would be ignored in silence, which is how typing errors reach
production. The suggestion is the nearest field; `tidegate schema` prints all of them.]],
    wrong = 'tg.service "x" { bultin = "echo" }', right = 'tg.service "x" { builtin = "echo" }' },
  { name = "out_of_range", number = "TG1205",
    title = "a value or a number of items outside its bounds", text = [[
The line below the message tells the bounds. Those of settings.limits stand in the README and in `tidegate
limits`.]] },
  { name = "rule", number = "TG1206", title = "fields that do not go together", text = [[
Each field is fine by itself, and a rule across them is broken: exactly one of some must be set, one needs
another, or two must differ.]] },
  { name = "deprecated", number = "TG1207", title = "a field that is on its way out", text = [[
The field still works. The line below the message tells what to use instead; a later version will refuse
it.]] },
  { name = "no_variant", number = "TG1208", title = "a value that fits none of the alternatives", text = [[
The field takes one of several shapes, and this is none of them. Where a value is nearly one of them, the
mistakes against that one are reported instead.]] },
  { name = "bad_check", number = "TG1209", title = "a schema's own check failed", text = [[
A function given to :check() in the plugin's schema raised an error instead of answering. That is a
mistake of the plugin; the value may be right.]] },
  { name = "expired_certificate", number = "TG1216", title = "a certificate that has expired", text = [[
The gateway starts and shows it, since the other names of the listener may be well; clients that look at
the date will refuse it. Put a new certificate in its place and reload.]] },

  { name = "unknown_name", number = "TG1301", title = "a name that nothing bears", text = [[
A service, zone or plugin is named that is not declared. Names are resolved when the whole file has been
evaluated, so the order does not matter. A handle (local orders = tg.service …) turns a misspelt name into
a Lua error at its line.]] },
  { name = "duplicate_name", number = "TG1302", title = "one name declared twice", text = [[
Names are unique within their kind, since logs, metrics and kept state go by them. The line below the
message cites the first declaration.]] },
  { name = "conflict", number = "TG1303", title = "declarations that contradict each other", text = [[
Two routes take the same requests with the same priority, two listeners have one address, or a field asks
for what another rules out. Nothing is decided by the order of declaration, so one of them must change:
give one route a priority, or a condition more; give one listener another port.]] },
  { name = "nothing_to_serve", number = "TG1304", title = "nothing would answer", text = [[
A gateway needs a listener, and a route needs something that answers: a service, or a plugin with an
access phase.]] },
  { name = "shadowed", number = "TG1305", title = "a route that no request reaches", text = [[
Every request that the route matches is taken by routes which come before it, so it never answers. Usually
a route of higher priority has a path or host that is too broad. `tidegate routes` lists the routes in the
order in which they are tried. Narrow the other route, raise the priority of this one, or remove it.
A route may also ask what no listener has: a scheme, or a name in TLS handshakes.]],
    wrong = 'tg.route "all" { paths = { "/*" }, priority = 10, … }\ntg.route "a" { paths = { "/a" }, … }',
    right = 'tg.route "all" { paths = { "/*" }, … }' },
  { name = "unused", number = "TG1306", title = "something that nothing uses", text = [[
A service to which no route or plugin refers, or a zone that no plugin names. It costs little, but often
something else was meant: a misspelt or forgotten reference. Remove it, or use it.]] },

  { name = "unknown_plugin", number = "TG1401", title = "a plugin that is not there", text = [[
A name without a slash is a bundled plugin (`tidegate schema` lists them); one of your own is named by its
file, below the folder of the configuration.]],
    right = 'tg.use "./plugins/name.lua" { … }' },
  { name = "plugin_syntax", number = "TG1402", title = "a plugin file is not Lua", text = [[
The plugin does not compile. The message is the compiler's.]] },
  { name = "plugin_shape", number = "TG1403", title = "a plugin file that returns no plugin", text = [[
A plugin is a file that returns a table with name, version, api, stage and at least one phase. While the
file runs, the library can be named but not called: what it does belongs into init, configure and the
phases.]] },
  { name = "plugin_global", number = "TG1404", title = "a plugin uses an undeclared global", text = [[
Found in the compiled file without running it, so branches that no test takes are covered. A read is
mostly a misspelt name; a write would be shared by all requests of a worker. Declare it with local.]] },
  { name = "plugin_require", number = "TG1405", title = "a plugin requires what it cannot", text = [[
A plugin may require tidegate, tidegate.schema and the files of its own folder.]] },
  { name = "duplicate_plugin", number = "TG1406", title = "two plugins, or metrics, of one name", text = [[
Logs, metrics and kept state go by a plugin's name, so two files cannot share it. Rename one in its table.
A metric is exposed under both names, its plugin's and its own, with "-" as "_": the plugins "a-b" with the
metric c and "a" with b_c would count as one. Rename a metric, or a plugin.]] },
  { name = "plugin_start", number = "TG1407", title = "a plugin cannot start", text = [[
Its init() or configure() raised an error, was killed at a limit, or what it declares cannot be granted.
`check` loads plugins as a worker does, with the limits of the configuration.]] },
  { name = "plugin_conf", number = "TG1408",
    title = "a configuration that cannot cross to its plugin", text = [[
Plugins live in VMs of their own, and what crosses is plain data of bounded size: strings, numbers,
booleans and tables of these.]] },
  { name = "plugin_limits", number = "TG1409", title = "a plugin asks for more than it gets", text = [[
The table of a plugin lowers limits and never raises them: what it asks for above settings.limits is not
granted, and the smaller value holds. Only the operator raises a limit, for one use of the plugin or for all
plugins.]],
    right = 'tg.use("./p.lua", { limits = { cpu = "50ms" } }) { … }' },

  { name = "plugin_field", number = "TG1410", title = "a field that its schema has not", text = [[
Found in the compiled function without running it: conf has the fields of the plugin's schema, and
`compiled`, what configure() returned. Another one is nil, and what depends on it silently goes
the other way.]],
    right = "function P.access(conf, ctx) if conf.enabled then … end end" },

  { name = "bad_order", number = "TG1501", title = "before and after cannot be met", text = [[
The constraints go round in a circle, or demand that a plugin of an earlier stage runs after one of a
later stage. Stages in order: edge, auth, guard, traffic, transform, observe.]] },
  { name = "phase_never_runs", number = "TG1502",
    title = "a phase that never runs where the plugin is", text = [[
rewrite runs before the route is known, so on a route or a service it never does. Attach the plugin
globally or to a listener.]] },
  { name = "duplicate_instance", number = "TG1503", title = "one plugin twice at one place", text = [[
Of a plugin's instances only the most specific runs, so two at one place cannot both. Give them different
ids if both are meant.]],
    right = 'tg.use("headers", { id = "second" }) { … }' },
  { name = "attached_nowhere", number = "TG1504", title = "a plugin that is in no list", text = [[
tg.use makes an instance; it runs where a list of plugins holds it: tg.global, or plugins of a listener, a
service, a route.]] },
  { name = "bad_scope", number = "TG1505", title = "a plugin that cannot be attached there", text = [[
A consumer is known only after the auth stage, so plugins of the stages edge and auth, and what runs before
routing, cannot be a consumer's. Attach them to a route, a service, a listener or globally.]] },
  { name = "never_runs", number = "TG1506", title = "an instance that no request meets", text = [[
The instance is attached, but no chain has it: more specific instances of the same plugin stand in its
place everywhere, or what it is attached to is not used. Instances with different ids do not replace each
other.]] },
}

local by_name, by_number = {}, {}
for _, entry in ipairs(codes.list) do
  assert(not by_name[entry.name] and not by_number[entry.number], "a message is listed twice")
  by_name[entry.name], by_number[entry.number] = entry, entry
end

--- The number of a message by its name in the sources.
-- @treturn string "TG1204"; raises for a name that is not listed
function codes.number(name)
  local entry = by_name[name]
  if not entry then error(("unknown diagnostic code %q"):format(tostring(name)), 2) end
  return entry.number
end

--- The entry of a number as people write it: "TG1204", "tg1204" or "1204".
-- @treturn table|nil
function codes.find(text)
  local digits = text:match "^[Tt][Gg](%d%d%d%d)$" or text:match "^(%d%d%d%d)$"
  return digits and by_number["TG" .. digits] or nil
end

return codes
