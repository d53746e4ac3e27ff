--- Vectors: what a plugin drops while nothing more fits on its stack. What the host keeps for it outside of
-- the VM goes back there as everywhere: the collector needs no stack for that.

local client = require("support.client")
local gateway = require("support.gateway")

-- Fills the stack up to the last levels that still fit, and makes garbage there until all that was dropped
-- before has been collected.
local PLUGIN = [[
local tg = require "tidegate"
local P = { name = "dropper", version = "1.0.0", api = 1, stage = "guard", needs = { http = true } }
local depth, top = 0, math.huge

local function make_garbage()
  for _ = 1, 60000 do local _ = {} end
end

local function descend(level)
  depth = level
  if level >= top then make_garbage() end
  return 1 + descend(level + 1)
end

local function drop(make)
  top = math.huge
  pcall(descend, 1)
  local deepest = depth
  for round = 1, 12 do
    for i = 1, 8 do assert(make(round * 100 + i)) end
    top = deepest - round % 6
    pcall(descend, 1)
    make_garbage()
  end
end

local makers = {
  response = function() return tg.http.get("echo", "/", { stream = true }) end,
  regex = function(i) return tg.re.compile(("(a|b)%d"):format(i)) end,
  key = function()
    return tg.crypto.key [=[
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----]=]
  end,
}

function P.access(_, ctx)
  drop(makers[ctx.req:query "what"])
  ctx:exit(200, "dropped")
end
return P
]]

describe("what a plugin drops with a full stack", function()
  local g

  setup(function()
    g = gateway.start({
      files = { ["dropper.lua"] = PLUGIN },
      config = [[
        local tg = require "tidegate"
        tg.settings {
          workers = 1,
          limits = { plugin = { cpu = "30s", wall = "1m", memory = "8MiB", churn = "1GiB" } },
        }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use "./dropper.lua" {} } }
      ]],
    })
  end)

  teardown(function()
    g:stop() -- with sanitizers: nothing is leaked, and nothing used that has gone
  end)

  -- 96 are opened in all, and 32 may be open at a time.
  for _, what in ipairs({ "response", "regex", "key" }) do
    it("goes back: a " .. what, function()
      local response = client.get(g.port, "/?what=" .. what, { seconds = 60 })
      assert.equal("dropped", response.body)
    end)
  end
end)
