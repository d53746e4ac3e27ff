-- request-id: who chooses the identifier, and who gets to see it.

local client = require("support.client")
local gateway = require("support.gateway")

describe("request-id", function()
  local function start(scope, conf)
    local g = gateway.start({
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1 }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.global { ]] .. (scope == "global" and 'tg.use "request-id" ' .. conf or "") .. [[ }
        tg.route "all" { paths = { "/a/*" }, service = "echo", plugins = { ]] ..
          (scope == "route" and 'tg.use "request-id" ' .. conf or "") .. [[ } }
      ]],
    })
    finally(function() g:stop() end)
    return g.port
  end

  it("makes one for origin and client", function()
    local response = client.get(start("route", "{}"), "/a/")
    local id = response.headers["x-request-id"]
    assert.matches("^%x+$", id)
    assert.equal(32, #id)
    assert.contains('["x-request-id","' .. id .. '"]', response.body)
  end)

  it("keeps a well-formed one of the client", function()
    local port = start("route", "{}")
    local response = client.get(port, "/a/", { ["X-Request-Id"] = "0123-abc.DEF" })
    assert.equal("0123-abc.DEF", response.headers["x-request-id"])
    assert.contains('"0123-abc.DEF"', response.body)
    for _, bad in ipairs({ "a b", "<x>", ("a"):rep(129) }) do
      local id = client.get(port, "/a/", { ["X-Request-Id"] = bad }).headers["x-request-id"]
      assert.matches("^%x+$", id)
      assert.equal(32, #id)
    end
  end)

  it("trusts nobody when told so, under another name", function()
    local response = client.get(start("route", '{ header = "X-Trace", trust = false }'), "/a/",
      { ["X-Trace"] = "mine" })
    assert.not_equal("mine", response.headers["x-trace"])
    assert.equal(32, #response.headers["x-trace"])
  end)

  it("is the same in rewrite and access, and on answers of the gateway, when global", function()
    local port = start("global", "{}")
    local response = client.get(port, "/a/")
    assert.contains('"' .. response.headers["x-request-id"] .. '"', response.body)
    response = client.get(port, "/none")
    assert.status(404, response)
    assert.equal(32, #response.headers["x-request-id"])
  end)
end)
