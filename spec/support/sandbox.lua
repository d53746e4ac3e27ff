--- Attacks on the sandbox: what a plugin tries, what stops it, and that nobody else notices.
--
--   sandbox.suite("a memory bomb", { limits = [[plugin = { memory = "256KiB" }]] }, {
--     { "of one string", "return ('x'):rep(1e9)", killed = "memory" },
--     { "that asks for load", "return load('return 1')", raises = 'undeclared global "load"' },
--     { "that looks into strings", "return getmetatable('')", answers = "false" },
--   })
--
-- The rows of a suite are bodies of functions in one plugin, which serves one route; another plugin
-- serves another route of the same gateway, which has one worker. Each row becomes a spec that calls its
-- function (with `conf, ctx`, and `chunk, eof` in body_filter) in the phase `phase` (access unless said)
-- and expects one of
--
--   answers = text    200 and what the function returned, as tostring() has it
--   raises = text     500 with the code plugin_error, and a line of the log with the text
--   killed = reason   503 with the code plugin_killed, and a line of the log with the reason
--   passes = true     200 and what the service answers
--   fails = status    the status, with the code plugin_failed
--   breaks = text     the client sees the connection end early; the log has the text
--   log = text        as well: a line of the log with this text
--
-- After every row the process is the one that was started, another plugin answers on the same
-- worker, and so does the attacker, asked for something that it may do.
--
-- Two things differ by design between builds: sanitizers give LuaJIT's memory to an allocator of
-- their own, and ThreadSanitizer holds signals back until a call that it knows, which a loop never
-- makes. Rows with `prompt = true` depend on such signals and are pending there.

local assert = require("luassert")
local busted = require("busted")
local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")
local variant = require("support.variant")

local it, pending, describe, setup, teardown = busted.it, busted.pending, busted.describe, busted.setup,
  busted.teardown

local sandbox = {}

-- What a suite has that names no limits: time enough under sanitizers beside a busy processor.
local AMPLE = 'plugin = { cpu = "5s", wall = "1m" }'

sandbox.is_prompt = variant.interrupts

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings {
    workers = 1,
    limits = { plugin_vm = { kills = 1000000@VM@ }, @LIMITS@ },
  }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.service "echo" { builtin = "echo" }
  tg.route "attacker" { paths = { "/attacker" }, service = "echo",
    plugins = { tg.use("./attacker", @USE@) {} } }
  tg.route "neighbour" { paths = { "/neighbour" }, service = "echo",
    plugins = { tg.use "./neighbour.lua" {} } }
]]

local ATTACKER = [[
local tg = require "tidegate"
local P = { name = "attacker", version = "1.0.0", api = 1, stage = "guard", exports = { "value" },
  needs = { http = true } }
local attacks = { access = {}, header_filter = {}, body_filter = {}, log = {} }
local kept = {}
%s
%s
for phase, list in pairs(attacks) do
  P[phase] = function(conf, ctx, ...)
    local attack = list[tonumber(ctx.req:query "row")]
    if phase ~= "access" then
      if attack then return attack(conf, ctx, ...) end
      return
    end
    if ctx.req:query "row" == nil then ctx:exit(200, "ready") end
    if attack then ctx:exit(200, tostring((attack(conf, ctx)))) end
  end
end
return P
]]

local NEIGHBOUR = [[
local P = { name = "neighbour", version = "1.0.0", api = 1, stage = "guard" }
function P.access(_, ctx)
  local t = {}
  for i = 1, 100 do t[i] = ("%d"):format(i):gsub("1", "one") end
  ctx:exit(200, "served " .. #table.concat(t))
end
return P
]]

local READY, SERVED = "ready", "served 234"

-- The plugin's text: one function for each row, each on lines of its own.
local function write_plugin(rows, prelude)
  local functions = {}
  for i, row in ipairs(rows) do
    functions[i] = ("attacks.%s[%d] = function(conf, ctx, chunk, eof)\n%s\nend"):format(
      row.phase or "access", i, row[2])
  end
  return ATTACKER:format(prelude or "", table.concat(functions, "\n"))
end

--- Waits for `text` in what the log has gained since it had `from` bytes. Lines of the log quote their
-- values: quotes in a value have a backslash.
function sandbox.await_log(g, text, from)
  text = text:gsub('"', '\\"')
  local ok = pcall(clock.wait_until, function()
    return g:stderr():find(text, from + 1, true)
  end)
  if not ok then
    error(("no %q in the log:\n%s"):format(text, g:stderr():sub(from + 1)), 3)
  end
end

local function expect_problem(response, status, code)
  assert.status(status, response)
  assert.contains('"code":"' .. code .. '"', response.body)
end

local function attack(g, row, number)
  local from = #g:stderr()
  local c = client.connect(g.port)
  c:send(("GET /attacker?row=%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(number))
  if row.breaks then
    local rest = c:receive_rest()
    assert.is_nil(rest:find("\r\n0\r\n\r\n", 1, true))
    return sandbox.await_log(g, row.breaks, from)
  end
  local response = c:response({ seconds = 20 })
  if row.raises then
    expect_problem(response, 500, "plugin_error")
    sandbox.await_log(g, row.raises, from)
  elseif row.fails then
    expect_problem(response, row.fails, "plugin_failed")
  elseif row.killed then
    expect_problem(response, 503, "plugin_killed")
    sandbox.await_log(g, "killed (" .. row.killed .. ")", from)
  else
    assert.status(200, response)
  end
  if row.answers then
    assert.equal(row.answers, response.body)
  elseif row.passes then
    assert.contains('"target":"/attacker', response.body)
  end
  if row.log then
    sandbox.await_log(g, row.log, from)
  end
  c:close()
end

--- Everybody is well: the attacker when it behaves, its neighbour, and the process.
function sandbox.assert_alive(g, pids)
  assert.equal(READY, client.get(g.port, "/attacker").body)
  assert.equal(SERVED, client.get(g.port, "/neighbour").body)
  assert.same(pids, g:pids())
end

--- Starts a gateway with an attacker and its neighbour.
-- @return the gateway, its pids
-- @param options limits (text below settings.limits; ample time unless given), vm (below plugin_vm,
--   begins with a comma), use (text: options of tg.use), prelude (Lua text before the functions), files
--   (beside attacker/init.lua)
function sandbox.start(options, rows)
  local files = { ["attacker/init.lua"] = write_plugin(rows or {}, options.prelude),
    ["neighbour.lua"] = NEIGHBOUR }
  for name, text in pairs(options.files or {}) do
    files[name] = text
  end
  local g = gateway.start({
    config = CONFIG,
    vars = { LIMITS = options.limits or AMPLE, VM = options.vm or "", USE = options.use or "{}" },
    files = files,
  })
  assert.equal(READY, client.get(g.port, "/attacker").body) -- its process is there, not only its sockets
  return g, g:pids()
end

--- Describes a group of attacks.
function sandbox.suite(title, options, rows)
  describe(title, function()
    local g, pids

    setup(function()
      g, pids = sandbox.start(options, rows)
    end)

    teardown(function()
      g:stop()
    end)

    for number, row in ipairs(rows) do
      local declare = (row.prompt and not sandbox.is_prompt) and pending or it
      declare(row[1], function()
        attack(g, row, number)
        sandbox.assert_alive(g, pids)
      end)
    end
  end)
end

return sandbox
