-- Some seconds of each attack on a gateway of 96 MiB, beside a client that behaves well. A minute of each is
-- `luajit spec/bench/attacks.lua`.

local attack = require("attacks.attack")
local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")
local variant = require("support.variant")

local BUDGET = 96 * 2 ^ 20
local SECONDS, REACH = 3, 15 -- the second where a machine is busy, stretched under sanitizers
local GOAL = 1000
-- Sanitizers take and keep memory of their own, which would count as pressure from the first moment.
local CONFIG = variant.name == "release" and attack.config or attack.config:gsub('"96MiB"', '"64GiB"')
local SIZES = { slow_heads = 4000, slow_bodies = 2000, slow_readers = 600, abandoned = 5000,
                h2_half_heads = 1000, h2_open_streams = 100, h2_proven_streams = 100, h2_small_windows = 10 }

describe("under attack #slow", function()
  local g

  before_each(function()
    g = gateway.start({ config = CONFIG })
    client.get(g.port, "/well") -- the supervisor listens before it starts the process that answers
  end)

  after_each(function()
    g:stop()
  end)

  local function gateway_process()
    return g:pids()[2]
  end

  for _, name in ipairs(attack.ORDER) do
    it("the process stays in its budget and serves who behaves: " .. name, function()
      local pid = gateway_process()
      local result = attack.run({ name = name, port = g.port, gateway = pid, seconds = SECONDS,
                                  size = SIZES[name], goal = GOAL, reach = REACH * clock.patience })
      assert.equal(pid, gateway_process())
      assert.equal(0, result.lost)
      assert.is_true(result.served > 0)
      assert.equal(0, result.newcomers.lost)
      if attack.LIST[name].goal then assert.is_true(result.answered >= GOAL) end
      if variant.name == "release" then
        assert.is_true(result.most < BUDGET, ("%.1f MiB"):format(result.most / 2 ^ 20))
      end
      assert.status(200, client.get(g.port, "/well"))
    end)
  end
end)
