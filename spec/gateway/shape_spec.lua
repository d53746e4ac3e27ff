-- Which of several services a request goes to: splits by weight, by chance or by key, canaries by header or
-- percentage; and who sees the choice.

local cjson = require("cjson")
local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")

describe("traffic", function()
  local g

  setup(function()
    g = gateway.start({
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        local function mark(name)
          return tg.use "headers" { response = { set = { ["x-plugin-of"] = name } } }
        end
        for _, name in ipairs { "old", "new", "next" } do
          tg.service(name) { builtin = "echo", path = "/" .. name, plugins = { mark(name) } }
        end
        tg.service "plain" { builtin = "echo", path = "/plain" }
        tg.global { tg.use "access-log" { fields = { "service", "path" } } }
        tg.route "chance" { paths = { "/chance/*" }, split = { { "old", weight = 3 }, { "new" } } }
        tg.route "cookie" { paths = { "/cookie/*" }, split = { { "old" }, { "new" }, key = "cookie:sid" } }
        tg.route "header" { paths = { "/header/*" }, split = { { "old" }, { "new" }, key = "header:X-User" } }
        tg.route "ip" { paths = { "/ip/*" },
          split = { { "old" }, { "new" }, { "plain", weight = 0 }, key = "ip" } }
        tg.route "canary" { paths = { "/canary/*" }, service = "old",
          canary = { service = "next", header = "X-Canary" } }
        tg.route "value" { paths = { "/value/*" }, service = "old",
          canary = { service = "next", header = "X-Canary", value = "yes" } }
        tg.route "percent" { paths = { "/percent/*" }, split = { { "old" }, { "new" }, key = "cookie:sid" },
          canary = { service = "next", percent = 20, key = "cookie:sid" } }
        tg.route "all" { paths = { "/all/*" }, service = "old", canary = { service = "next", percent = 100 } }
        tg.route "plugin" { paths = { "/plugin/*" }, split = { { "old" }, { "new" } },
          plugins = { tg.use "./chooser.lua" {} } }
      ]],
      files = {
        ["chooser.lua"] = [[
          local S = require "tidegate.schema"
          return { name = "chooser", version = "1.0.0", api = 1, stage = "transform", schema = S.record {},
            access = function(_, ctx)
              ctx.upstream:set_header("x-was", ctx.service.name)
              ctx:set_service "plain"
            end }
        ]],
      },
    })
  end)

  teardown(function() g:stop() end)

  -- The service that answered, by its path; its plugins must have run, and no other's.
  local function service(c, target, headers)
    headers = headers or {}
    headers.Host = "shop.test"
    local response = c:get(target, headers)
    assert.status(200, response)
    local name = cjson.decode(response.body).target:match("^/(%w+)/")
    assert.equal(name ~= "plain" and name or nil, response.headers["x-plugin-of"])
    return name, response
  end

  local function counted(target, n, headers)
    local c, counts = client.connect(g.port), { old = 0, new = 0, next = 0, plain = 0 }
    for i = 1, n do
      local name = service(c, target, headers and headers(i))
      counts[name] = counts[name] + 1
    end
    return counts
  end

  it("is split by weight", function()
    local counts = counted("/chance/x", 400)
    assert.is_true(counts.old > 250 and counts.old < 350, counts.old)
    assert.equal(400, counts.old + counts.new)
  end)

  for target, header in pairs({
    ["/cookie/x"] = function(user) return { Cookie = "a=b; sid=" .. user } end,
    ["/header/x"] = function(user) return { ["x-user"] = user } end,
  }) do
    it("sticks to the key of " .. target, function()
      local c, counts = client.connect(g.port), { old = 0, new = 0 }
      for i = 1, 40 do
        local first = service(c, target, header("u" .. i))
        counts[first] = counts[first] + 1
        for _ = 1, 3 do assert.equal(first, (service(c, target, header("u" .. i)))) end
      end
      assert.is_true(counts.old > 5 and counts.new > 5)
    end)
  end

  it("goes by chance where the key is missing", function()
    local counts = counted("/cookie/x", 60, function() return { Cookie = "other=1" } end)
    assert.is_true(counts.old > 5 and counts.new > 5)
  end)

  it("sticks to an address", function()
    local counts = counted("/ip/x", 20)
    assert.is_true(counts.old == 20 or counts.new == 20)
    assert.equal(0, counts.plain)
  end)

  it("goes to the canary by header", function()
    local c = client.connect(g.port)
    assert.equal("old", (service(c, "/canary/x")))
    assert.equal("next", (service(c, "/canary/x", { ["x-canary"] = "" })))
    assert.equal("next", (service(c, "/canary/x", { ["x-canary"] = "1" })))
    assert.equal("next", (service(c, "/value/x", { ["x-canary"] = "yes" })))
    assert.equal("old", (service(c, "/value/x", { ["x-canary"] = "no" })))
  end)

  it("goes to the canary by percentage, the rest to the split", function()
    local function of(i) return { Cookie = "sid=" .. i } end
    local first, again = counted("/percent/x", 300, of), counted("/percent/x", 300, of)
    assert.same(first, again)
    assert.is_true(first.next > 30 and first.next < 90, first.next)
    assert.is_true(first.old > 60 and first.new > 60)
    assert.equal(10, counted("/all/x", 10).next)
  end)

  it("goes where a plugin says, which sees the choice", function()
    assert.equal("next", (service(client.connect(g.port), "/all/x")))
    local response = client.get(g.port, "/plugin/x", { Host = "shop.test" })
    local request = cjson.decode(response.body)
    assert.equal("/plain/plugin/x", request.target)
    local was
    for _, field in ipairs(request.headers) do
      if field[1] == "x-was" then was = field[2] end
    end
    assert.is_true(was == "old" or was == "new")
  end)

  it("is logged with the service that was chosen", function()
    service(client.connect(g.port), "/all/logged")
    clock.wait_until(function()
      return g:stdout():find('{"service":"next","path":"/all/logged"}', 1, true)
    end, 5, "the line in the access log")
  end)
end)

describe("a split", function()
  it("moves no key but to the service whose weight grew, also over a reload", function()
    local config = [[
      local tg = require "tidegate"
      tg.settings { workers = 1 }
      tg.listener "http" { address = "127.0.0.1:@PORT@" }
      tg.service "old" { builtin = "echo", path = "/old" }
      tg.service "new" { builtin = "echo", path = "/new" }
      tg.route "r" { split = { { "old", weight = 90 }, { "new", weight = 10 }, key = "header:x-user" } }
    ]]
    local g = gateway.start({ config = config })
    finally(function() g:stop() end)
    local function all()
      local c, list = client.connect(g.port), {}
      for i = 1, 200 do
        local response = c:get("/x", { Host = "a", ["x-user"] = "u" .. i })
        list[i] = cjson.decode(response.body).target:match("^/(%w+)/")
      end
      return list
    end
    local before = all()
    g:reload((config:gsub("weight = 10 ", "weight = 60 ")))
    g:wait_for_log("(revision 2)")
    local after, moved = all(), 0
    for i, name in ipairs(before) do
      if name == "new" then assert.equal("new", after[i]) end
      if name ~= after[i] then moved = moved + 1 end
    end
    assert.is_true(moved > 30 and moved < 100, moved)
  end)
end)

describe("a split by consumer", function()
  it("sends each where he belongs, once it is known who asks", function()
    local config = { [[
      local tg = require "tidegate"
      tg.settings { workers = 1 }
      tg.listener "http" { address = "127.0.0.1:@PORT@" }
      tg.service "old" { builtin = "echo", path = "/old" }
      tg.service "new" { builtin = "echo", path = "/new" }
      tg.service "next" { builtin = "echo", path = "/next" }
      tg.route "split" { paths = { "/split" }, split = { { "old" }, { "new" }, key = "consumer" },
        plugins = { tg.use "key-auth" { hide = true } } }
      tg.route "canary" { paths = { "/canary" }, service = "old",
        canary = { service = "next", percent = 50, key = "consumer" }, plugins = { tg.use "key-auth" {} } }
      tg.route "nobody" { paths = { "/nobody" }, split = { { "old" }, { "new" }, key = "consumer" } }
    ]] }
    local env = {}
    for i = 1, 24 do
      local declare = 'tg.consumer "c%d" { credentials = { key = tg.secret "env:KEY_%d" } }'
      config[#config + 1] = declare:format(i, i)
      env["KEY_" .. i] = ("key-number-%02d-0123456789abcdef"):format(i)
    end
    local g = gateway.start({ config = table.concat(config, "\n"), env = env })
    finally(function() g:stop() end)

    local c = client.connect(g.port)
    local function service(target, i)
      local response = c:get(target, { Host = "a", ["x-api-key"] = i and env["KEY_" .. i] })
      assert.status(200, response)
      return cjson.decode(response.body).target:match("^/(%w+)/")
    end
    for _, target in ipairs({ "/split", "/canary" }) do
      local counts = {}
      for i = 1, 24 do
        local first = service(target, i)
        counts[first] = (counts[first] or 0) + 1
        for _ = 1, 3 do assert.equal(first, service(target, i)) end
      end
      assert.is_true((counts.old or 0) > 3 and (counts.new or counts.next or 0) > 3)
    end
    local counts = { old = 0, new = 0 }
    for _ = 1, 60 do
      local name = service("/nobody")
      counts[name] = counts[name] + 1
    end
    assert.is_true(counts.old > 5 and counts.new > 5)
  end)
end)
