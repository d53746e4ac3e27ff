-- ip-restriction: who may pass by address, on listeners and routes, in both families.

local cjson = require("cjson")
local bundled = require("support.bundled")
local client = require("support.client")
local gateway = require("support.gateway")

describe("ip-restriction", function()
  local g

  setup(function()
    g = gateway.start({
      config = [[
        local tg = require "tidegate"
        tg.listener "http" { address = "127.0.0.1:@PORT@", trusted = { "127.0.0.0/8" } }
        tg.service "echo" { builtin = "echo" }
        local function route(name, conf)
          tg.route(name) { paths = { "/" .. name }, service = "echo",
                           plugins = { tg.use "ip-restriction"(conf) } }
        end
        route("allow", { allow = { "192.0.2.0/24", "2001:db8::/32" } })
        route("deny", { deny = { "192.0.2.0/25", "2001:db8:1::/48", "198.51.100.7" } })
        route("both", { allow = { "10.0.0.0/8" }, deny = { "10.1.0.0/16" } })
        route("mapped", { allow = { "::ffff:192.0.2.0/120" } })
        route("peer", { allow = { "127.0.0.1" }, peer = true })
      ]],
    })
  end)

  teardown(function() g:stop() end)

  local function status(path, ip)
    return client.get(g.port, path, ip and { ["X-Forwarded-For"] = ip } or {}).status
  end

  it("lets in whom it allows, and nobody else", function()
    for ip, expected in pairs({ ["192.0.2.0"] = 200, ["192.0.2.255"] = 200, ["192.0.3.0"] = 403,
                                ["2001:db8::1"] = 200, ["2001:db9::"] = 403, ["::ffff:192.0.2.9"] = 200,
                                ["::"] = 403, ["::192.0.2.1"] = 403 }) do
      assert.equal(ip .. " " .. expected, ip .. " " .. status("/allow", ip))
    end
    assert.equal(403, status("/allow"))
  end)

  it("keeps out whom it denies, and nobody else", function()
    for ip, expected in pairs({ ["192.0.2.127"] = 403, ["192.0.2.128"] = 200, ["2001:db8:1:2::"] = 403,
                                ["2001:db8:2::"] = 200, ["198.51.100.7"] = 403, ["198.51.100.8"] = 200,
                                ["::ffff:198.51.100.7"] = 403 }) do
      assert.equal(ip .. " " .. expected, ip .. " " .. status("/deny", ip))
    end
    assert.equal(200, status("/deny"))
  end)

  it("denies within what it allows", function()
    assert.equal(200, status("/both", "10.2.0.1"))
    assert.equal(403, status("/both", "10.1.0.1"))
    assert.equal(403, status("/both", "11.0.0.1"))
  end)

  it("takes an IPv4 address written as IPv6 for what it is", function()
    assert.equal(200, status("/mapped", "192.0.2.7"))
    assert.equal(403, status("/mapped", "192.0.3.7"))
  end)

  it("looks at the peer where it is told to, whatever proxies say", function()
    assert.equal(200, status("/peer", "203.0.113.1"))
  end)

  it("says what it refuses", function()
    local r = client.get(g.port, "/allow", {})
    assert.header("Content-Type", "application/problem+json", r)
    assert.equal("address_not_allowed", cjson.decode(r.body).code)
  end)

  it("refuses before routing on a listener", function()
    local other = gateway.start({ config = [[
      local tg = require "tidegate"
      tg.listener "http" { address = "127.0.0.1:@PORT@",
                           plugins = { tg.use "ip-restriction" { deny = { "127.0.0.0/8" } } } }
      tg.service "echo" { builtin = "echo" }
      tg.route "all" { paths = { "/there" }, service = "echo" }
    ]] })
    assert.status(403, client.get(other.port, "/there"))
    assert.status(403, client.get(other.port, "/not-there"))
    other:stop()
  end)

  for what, case in pairs({
    ["neither list"] = { "{}", "one of these fields is needed: allow, deny" },
    ["a network that is none"] = { '{ allow = { "10.0.0.0/33" } }', "allow[1]" },
    ["a host name"] = { '{ deny = { "example.test" } }', "deny[1]" },
    ["an empty list"] = { "{ allow = {} }", "the list is empty" },
  }) do
    it("does not load with " .. what, function()
      assert.contains(case[2], bundled.check("ip-restriction", case[1]))
    end)
  end
end)
