-- Vectors: plugin files that must not be loaded. Each is a mistake with file and line for `check`, for a
-- start and for a reload, and a gateway that serves goes on with what it had.

local client = require("support.client")
local gateway = require("support.gateway")
local process = require("support.process")
local variant = require("support.variant")
local unistd = require("posix.unistd")

local HEAD = [[
local P = { name = "p", version = "1.0.0", api = 1, stage = "guard", access = function() end }
]]

-- A plugin that is well but for its second line and those after it.
local function own(code)
  return HEAD .. code .. "\nreturn P\n"
end

-- What the file holds, and what is said about it: { file:line, text }.
local MISTAKES = {
  { "is bytecode", "\27LJ\2\0", "p.lua:1", "compiled bytecode is not loaded" },
  { "does not parse", "local P = {\nname = \n}\nreturn P\n", "p.lua:3", "unexpected symbol" },
  { "returns nothing", "local P = {}\n", "p.lua:1", "this one returned nothing" },
  { "returns a number", "return 1\n", "p.lua:1", "this one returned a number" },
  { "returns a table that is none", HEAD .. "return setmetatable({}, { __index = P })\n", "p.lua:2",
    "a table with a metatable is no plain data" },
  { "declares an unknown phase", own "P.acces = function() end", "p.lua:2", "acces" },
  { "declares a phase that is no function", own "P.access = true", "p.lua:1", "expected a function" },
  { "declares an unknown field", own "P.nane = 1", "p.lua:2", "nane" },
  { "declares an unknown stage", own "P.stage = 'security'", "p.lua:1", "security" },
  { "declares an unknown capability", own "P.needs = { files = true }", "p.lua:2", "files" },
  { "declares an API of the future", own "P.api = 2", "p.lua:1", "api: 2 is above" },
  { "grants itself more than the operator", own "P.limits = { memory = '100GiB' }", "p.lua:2",
    "memory" },
  { "requires a library", own "local ffi = require 'ffi'", "p.lua:2", 'cannot require "ffi"' },
  { "requires a file above it", own "require '../gateway'", "p.lua:2", "cannot require" },
  { "asks for load", own "P.log = function() load 'x' end", "p.lua:2",
    'undeclared global "load"' },
  { "asks for debug", own "P.log = function() return debug end", "p.lua:2",
    'undeclared global "debug"' },
  { "asks for ffi", own "P.log = function() return ffi end", "p.lua:2",
    'undeclared global "ffi"' },
  { "asks for io", own "P.log = function() io.open 'x' end", "p.lua:2",
    'undeclared global "io"' },
  { "asks for getfenv", own "P.log = function() return getfenv(0) end", "p.lua:2",
    'undeclared global "getfenv"' },
  { "asks for newproxy", own "P.log = function() newproxy(true) end", "p.lua:2",
    'undeclared global "newproxy"' },
  { "writes a global", own "function P.log() count = 1 end", "p.lua:2",
    'assignment to the global "count"' },
  { "raises while it is loaded", own "error 'by design'", "p.lua:2", "by design" },
  { "indexes nil while it is loaded", own "local t = P.x.y", "p.lua:2", "attempt to index" },
  { "recurses through gsub", own "local function f() local s = ('x'):gsub('x', f) return s end\nf()",
    "p.lua:2", "overflow" },
  { "recurses through coroutines", own "local function f() local x = coroutine.wrap(f)() return x end\nf()",
    "p.lua:2", "coroutines are nested too deeply" },
  { "recurses", own "local function f() return 1 + f() end\nf()", "p.lua:2", "stack overflow" },
  { "matches for ever", own "local x = ('x'):rep(200):find '.-.-.-.-.-y'", "p.lua:2",
    "too many steps" },
  { "hoards while it is loaded", own "local t = {} while true do t[#t + 1] = ('x'):rep(1e5) .. #t end",
    "p.lua:2", "more than 256 MiB" },
  { "raises in init()", own "function P.init() error 'by design' end", "p.lua:2", "by design" },
  { "raises a table in init()", own "function P.init() error { message = 'by design' } end",
    "p.lua", "by design" },
  { "raises in configure()", own "P.configure = function(conf)\n  local t = {}\n  return t.x.y\nend",
    "p.lua:4", "attempt to index field 'x'" },
  { "waits in init()", own "function P.init() local x = coroutine.yield() return x end", "p.lua:2",
    "coroutine.yield outside a coroutine" },
  { "hoards in init()", own "function P.init() local t = {} for i = 1, 1e9 do t[i] = { i } end end",
    "p.lua:2", "killed (memory)" },
}

local LOOPS = {
  { "loops while it is loaded", own "while true do pcall(function() while true do end end) end", "p.lua:2",
    "takes longer than 1 s" },
  { "loops in init()", own "function P.init() while true do end end", "p.lua:2", "killed (cpu)" },
  { "loops in configure()", own "function P.configure() while true do end end", "p.lua:2",
    "killed (cpu)" },
}

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1 }
  tg.listener "http" { address = "127.0.0.1:@PORT@" }
  tg.service "echo" { builtin = "echo" }
  tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use "./@FILE@" {} } }
]]

local GOOD = [[
local P = { name = "p", version = "1.0.0", api = 1, stage = "guard" }
function P.access(_, ctx) ctx:exit(200, "good") end
return P
]]

describe("a plugin file that must not be loaded", function()
  local g, pids, env

  local function start(seconds)
    env = { TIDEGATE_CONFIG_SECONDS = seconds }
    g = gateway.start({ config = CONFIG, vars = { FILE = "good.lua" }, files = { ["good.lua"] = GOOD },
                        env = env })
    assert.equal("good", client.get(g.port, "/").body)
    pids = g:pids()
    g.vars.FILE = "p.lua"
    g:write("gateway.lua", CONFIG)
  end

  setup(function()
    start()
  end)

  teardown(function()
    g:stop()
  end)

  -- Runs a command in the gateway's folder; its exit status and all that it wrote.
  local function run(...)
    local out = process.output(g.dir .. "/out")
    local argv = { os.getenv("TIDEGATE_BIN"), ... }
    local p = process.spawn({ argv = argv, cwd = g.dir, stdout = out, stderr = out, env = env })
    unistd.close(out)
    local status = p:wait(60) or p:kill()
    return status.code, g:read("out")
  end

  local function expect(row, text)
    assert.contains(row[3], text)
    assert.contains(row[4], text)
  end

  local function is_refused(row)
    local file = assert(io.open(g.dir .. "/p.lua", "wb"))
    file:write(row[2])
    file:close()
    local code, text = run("check", "gateway.lua")
    assert.equal(1, code)
    expect(row, text)
    assert.contains("configuration not loaded", text)
    local from = #g:stderr()
    g:signal("HUP")
    require("support.clock").wait_until(function()
      return g:stderr():find("revision 1 stays", from, true)
    end, 60, "the reload to be refused")
    expect(row, g:stderr():sub(from + 1))
    assert.equal("good", client.get(g.port, "/").body)
    assert.same(pids, g:pids())
  end

  for _, row in ipairs(MISTAKES) do
    it("because it " .. row[1], function()
      is_refused(row)
    end)
  end

  describe("because it #slow", function()
    setup(function()
      g:stop()
      start("1") -- second for the evaluation: it is used up
    end)

    for _, row in ipairs(LOOPS) do
      local declare = (not variant.interrupts and row[4] == "killed (cpu)") and pending or it
      declare(row[1], function()
        is_refused(row)
      end)
    end
  end)

  it("keeps a gateway from starting", function()
    local other = gateway.start({
      config = CONFIG, vars = { FILE = "p.lua" }, wait = false,
      files = { ["p.lua"] = own "function P.init() error 'by design' end" },
    })
    assert.same({ code = 1 }, other:wait(30))
    assert.contains("p.lua:2: by design", other:stderr())
  end)
end)
