-- `tidegate new`: skeletons of plugins and gateways.
--
-- Purpose    Files to begin with, and a spec for them that passes at once and shows how one is written.
-- Invariants Nothing that exists is touched: either all files are written or none.
-- Ownership  Writes below the current folder.
-- Cost       A handful of small files.

local skeleton = {}

local PHASES = { "certificate", "rewrite", "access", "header_filter", "body_filter", "message", "log" }

local USAGE = "usage: tidegate new plugin NAME [--phases=access,log]\n       tidegate new gateway\n"

local MESSAGE_TEST = [[
  it("does its work in message", function()
    local s = p:websocket()
    s:send "hello"
    assert.equal("hello", s.origin:receive().data)
    s:finish()
  end)
]]

local CERTIFICATE_TEST = [[
  -- certificate: runs in TLS handshakes, which specs have none of; try it with `tidegate run` and a listener.
]]

-- What each phase of a new plugin does, and what its spec looks at.
local BODY = {
  certificate = { doc = "A TLS client's hello is here; there is no request yet.",
    code = 'function P.certificate(conf, ctx)\n  ctx.log:debug("hello", { sni = ctx.tls.sni })\n' ..
           '  ctx.state.value = conf.value\nend',
    test = CERTIFICATE_TEST },
  rewrite = { doc = "The request is here, its route is not known yet.",
    code = 'function P.rewrite(conf, ctx)\n  ctx.upstream:set_header("x-@NAME@", conf.value)\nend',
    spec = 'assert.request(r.upstream).has.header("x-@NAME@", "on")' },
  access = { doc = "The route is known, the origin has not been asked.",
    code = 'function P.access(conf, ctx)\n  ctx.upstream:set_header("x-@NAME@", conf.value)\nend',
    spec = 'assert.request(r.upstream).has.header("x-@NAME@", "on")' },
  header_filter = { doc = "The answer's head is here.",
    code = 'function P.header_filter(conf, ctx)\n  ctx.resp:set_header("x-@NAME@", conf.value)\nend',
    spec = 'assert.response(r).has.header("x-@NAME@", "on")' },
  body_filter = { doc = "A piece of the answer's body (conf, ctx, chunk, eof); returns what takes its place.",
    code = "function P.body_filter(_, _, chunk)\n  return chunk\nend",
    spec = 'assert.response(r).has.body "from the origin"' },
  message = { doc = 'A message of a WebSocket (conf, ctx, data, kind, from); returns what takes its place.',
    code = "function P.message(_, _, data)\n  return data\nend", test = MESSAGE_TEST },
  log = { doc = "The answer is out.",
    code = 'function P.log(conf, ctx)\n  ctx.log:field("@FIELD@", conf.value)\nend',
    spec = 'assert.equal("on", r.fields.@FIELD@)' },
}

local PLUGIN = [[
--- @NAME@: say in one sentence what it does.
local S = require "tidegate.schema"

local P = {
  name = "@NAME@",
  version = "0.1.0",
  api = 1,
  stage = "traffic",
  schema = S.record {
    value = S.string { min = 1, max = 64 }:default "on":doc "what the header says",
  },
}

@PHASES@
return P
]]

local README = [[
# @NAME@

Say what it does, and why somebody would want it.

```lua
tg.global { tg.use "./plugins/@NAME@" {} }
```

| field | default | meaning |
|---|---|---|
| `value` | `"on"` | what the header says |
]]

local PLUGIN_SPEC = [[
local t = require "tidegate.test"

describe("@NAME@", function()
  local p

  before_each(function()
    t.reset()
    p = t.plugin "./plugins/@NAME@"
  end)

@TESTS@
  it("stays within 64 KiB for each request", function()
    assert.memory(p:run()).peak_below "64KiB"
    assert.memory(p).no_growth(function() p:run() end)
  end)

  it("refuses fields that it does not know", function()
    local ok, messages = t.check_conf("./plugins/@NAME@", { valu = "off" })
    assert.is_nil(ok)
    assert.equal("value", messages[1].suggestion)
  end)
end)
]]

local TEST = [[
  it("does its work in @PHASE@", function()
    local r = p:run { upstream = { 200, body = "from the origin" } }
    assert.response(r).has.status(200)
    @CHECK@
  end)
]]

local GATEWAY = [[
local tg = require "tidegate"

tg.listener "http" { address = "127.0.0.1:8080" }

-- Where requests go. An origin inside the gateway shows what reaches it: builtin = "echo".
tg.service "app" {
  targets = { { "127.0.0.1:9000" } },
  timeout = { connect = "1s", response = "30s" },
}

tg.global { tg.use "request-id" {} }

tg.route "app" { paths = { "/*" }, service = "app" }
]]

local GATEWAY_SPEC = [[
local t = require "tidegate.test"

describe("gateway.lua", function()
  local gw

  before_each(function()
    t.reset()
    gw = t.gateway "gateway.lua"
  end)

  after_each(function() gw:close() end)

  it("sends requests to the application, with an id", function()
    gw:upstream("app", function(req) return { 200, body = req.path } end)
    local r = gw:get "/hello"
    assert.response(r).has.status(200)
    assert.response(r).has.body "/hello"
    assert.request(r.upstream).has.header "x-request-id"
  end)

  it("answers 502 when nobody listens there", function()
    gw:upstream("app", t.refuse())
    assert.response(gw:get "/").has.status(502)
  end)
end)
]]

local BUSTED = [[
-- Specs run under LuaJIT, as plugins do: `tidegate test`, or `busted` with tidegate.so on its cpath.
return {
  default = { lua = "luajit", ROOT = { "spec" } },
}
]]

local LUARC = [[
{
  "runtime.version": "LuaJIT",
  "workspace.library": [".tidegate/types"],
  "diagnostics.globals": ["describe", "it", "before_each", "after_each", "setup", "teardown", "pending"]
}
]]

local function fill(text, values)
  return (text:gsub("@(%u+)@", values))
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

-- The phases of "--phases=access,log", in their order; nil and what is wrong.
local function read_phases(list)
  local wanted, phases = {}, {}
  for name in list:gmatch "[^,]+" do
    if not BODY[name] then
      return nil, ("there is no phase %q; there are %s"):format(name, table.concat(PHASES, ", "))
    end
    wanted[name] = true
  end
  for _, name in ipairs(PHASES) do
    if wanted[name] then phases[#phases + 1] = name end
  end
  if #phases == 0 then return nil, "--phases names at least one phase" end
  return phases
end

local function plugin_files(name, phases)
  local values = { NAME = name, FIELD = name:gsub("-", "_") }
  local code, tests = {}, {}
  for i, phase in ipairs(phases) do
    local body = BODY[phase]
    code[i] = ("--- %s\n%s\n"):format(body.doc, fill(body.code, values))
    tests[i] = body.test or fill(TEST, { PHASE = phase, CHECK = fill(body.spec, values) })
  end
  values.PHASES, values.TESTS = table.concat(code, "\n"), table.concat(tests, "\n")
  return {
    { ("plugins/%s/init.lua"):format(name), fill(PLUGIN, values) },
    { ("plugins/%s/README.md"):format(name), fill(README, values) },
    { ("spec/%s_spec.lua"):format(name), fill(PLUGIN_SPEC, values) },
  }
end

local function gateway_files()
  return { { "gateway.lua", GATEWAY }, { "spec/gateway_spec.lua", GATEWAY_SPEC } }
end

local function make_folders(path)
  local harness = require "tidegate.harness"
  for stop in path:gmatch "()/" do harness.mkdir(path:sub(1, stop - 1)) end
end

local function write_all(files)
  for _, file in ipairs(files) do
    if exists(file[1]) then
      io.stderr:write(("tidegate new: %s exists already; nothing was written\n"):format(file[1]))
      return 1
    end
  end
  for _, file in ipairs { { ".busted", BUSTED }, { ".luarc.json", LUARC } } do
    if not exists(file[1]) then files[#files + 1] = file end
  end
  for _, file in ipairs(files) do
    make_folders(file[1])
    local out, why = io.open(file[1], "wb")
    if not out then
      io.stderr:write(("tidegate new: cannot write %s\n"):format(why))
      return 3
    end
    out:write(file[2])
    out:close()
    print("wrote " .. file[1])
  end
  print "\nnext: tidegate test"
  return 0
end

local function refuse(why)
  io.stderr:write("tidegate new: ", why, "\n", USAGE)
  return 2
end

--- The exit status.
function skeleton.main()
  local words, phases = {}, { "access" }
  for _, word in ipairs(arg) do
    local list = word:match "^%-%-phases=(.*)$"
    if list then
      local why
      phases, why = read_phases(list)
      if not phases then return refuse(why) end
    elseif word:find "^%-" then
      return refuse(("unknown option %q"):format(word))
    else
      words[#words + 1] = word
    end
  end
  if words[1] == "gateway" and #words == 1 then return write_all(gateway_files()) end
  if words[1] ~= "plugin" or #words ~= 2 then return refuse "say what: plugin NAME, or gateway" end
  if not words[2]:find "^%l[%l%d_-]*$" or #words[2] > 64 then
    return refuse(("%q is no name: lower case, digits, - and _"):format(words[2]))
  end
  return write_all(plugin_files(words[2], phases))
end

return skeleton
