--- Consistent hashing: where keys come from, and that a target with too much to do is passed over.

local t = require "tidegate.test"

describe("a service that hashes", function()
  local gw

  before_each(t.reset)
  after_each(function() gw:close() end)

  local function start(balance, plugins)
    gw = t.gateway("hash.lua", { files = { ["hash.lua"] = ([[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:8080" }
tg.service "orders" {
  targets = { { "10.0.0.1:9000" }, { "10.0.0.2:9000" }, { "10.0.0.3:9000" }, { "10.0.0.4:9000" } },
  balance = { %s },
}
for i = 1, 20 do tg.consumer("u" .. i) {} end
tg.route "all" { service = "orders", plugins = { %s } }
]]):format(balance, plugins or ""),
      ["key.lua"] = [[
return { name = "key", version = "1.0.0", api = 1, stage = "transform", access = function(_, ctx)
  ctx.upstream:hash_key(ctx.req.path:match "^/(%w+)")
end }]],
      ["who.lua"] = [[
local tg = require "tidegate"
return { name = "who", version = "1.0.0", api = 1, stage = "auth", access = function(_, ctx)
  local consumer = tg.consumers.get(ctx.req:header "x-who" or "")
  if consumer then ctx.consumer:authenticate(consumer) end
end }]] } })
    gw:upstream("orders", { 200 })
  end

  local function target_of(request)
    return gw:request(request).upstream.attempts[1].target
  end

  -- Twenty keys, three times each: a key stays with its target, and all targets have some.
  local function assert_by_key(request_of)
    local seen, targets, count = {}, {}, 0
    for round = 1, 3 do
      for user = 1, 20 do
        local target = target_of(request_of(user, round))
        assert.equal(seen[user] or target, target)
        seen[user] = target
        if not targets[target] then targets[target], count = true, count + 1 end
      end
    end
    assert.equal(4, count)
    return seen
  end

  -- Without a key of its own a request goes by the client's address.
  local function assert_by_address()
    local one = target_of { path = "/", client = { ip = "192.0.2.1" } }
    for _ = 1, 8 do assert.equal(one, target_of { path = "/", client = { ip = "192.0.2.1" } }) end
    local others = {}
    for i = 2, 20 do others[target_of { path = "/", client = { ip = "192.0.2." .. i } }] = true end
    others[one] = nil
    assert.is_truthy(next(others))
  end

  it("by address", function()
    start [["hash", by = "ip"]]
    assert_by_key(function(user, round)
      return { path = "/" .. round, client = { ip = "192.0.2." .. user, port = 1000 + round } }
    end)
  end)

  it("by a header, and without it by address", function()
    start [["hash", by = "header:x-user"]]
    assert_by_key(function(user, round)
      return { path = "/" .. round, headers = { ["X-User"] = "u" .. user },
               client = { ip = "192.0.2." .. round } }
    end)
    assert_by_address()
  end)

  it("by a cookie among others, and without it by address", function()
    start [["hash", by = "cookie:sid"]]
    assert_by_key(function(user, round)
      return { path = "/", headers = { cookie = ("a=%d; sid=u%d; sidx=1"):format(round, user) },
               client = { ip = "192.0.2." .. round } }
    end)
    assert_by_address()
  end)

  it("by consumer, and for nobody's requests by address", function()
    start([["hash", by = "consumer"]], [[tg.use "./who.lua" {}]])
    assert_by_key(function(user, round)
      return { path = "/", headers = { ["x-who"] = "u" .. user },
               client = { ip = "192.0.2." .. round } }
    end)
    assert_by_address()
  end)

  it("by the key that a plugin gives, whatever is configured", function()
    start([["hash", by = "key"]], [[tg.use "./key.lua" {}]])
    local function request(user, round)
      return { path = ("/u%d/%d"):format(user, round), client = { ip = "192.0.2." .. round } }
    end
    local by_key = assert_by_key(request)
    gw:close()
    start([["hash", by = "header:x-user"]], [[tg.use "./key.lua" {}]])
    assert.same(by_key, assert_by_key(request))
  end)

  it("and bounds the load passes over the target of a key that all ask for", function()
    start [["hash", by = "header:x-user", bound = 1.25]]
    gw:upstream("orders", t.slow("1s", { 200 }))
    local all, counts = {}, {}
    for i = 1, 20 do
      local connection = gw:open()
      all[i] = { connection, connection:request { path = "/", headers = { ["x-user"] = "same" } } }
    end
    for _, one in ipairs(all) do
      one[1]:finish(one[2])
      one[1]:close()
      local target = one[2].upstream.attempts[1].target
      counts[target] = (counts[target] or 0) + 1
    end
    local most, targets = 0, 0
    for _, count in pairs(counts) do most, targets = math.max(most, count), targets + 1 end
    assert.equal(4, targets)
    assert.is_true(most <= 1.25 * 20 / 4 + 1, "most: " .. most)
    local home = target_of { path = "/", headers = { ["x-user"] = "same" } }
    assert.equal(all[1][2].upstream.attempts[1].target, home) -- and comes home when there is room
  end)
end)
