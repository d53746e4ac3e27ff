-- TLS to origins. The origin is a second gateway that speaks TLS, or `openssl s_server`.

local client = require("support.client")
local gateway = require("support.gateway")
local process = require("support.process")
local socket = require("support.socket")
local tls = require("support.tls")

local FILES = tls.files({
  ca = { cn = "authority" },
  back = { names = { "back.test", "127.0.0.1" }, signer = "ca" },
  named = { names = { "named.test" }, signer = "ca" },
  own = { cn = "gateway", signer = "ca", names = { "gateway.test" } },
  alone = { names = { "back.test", "127.0.0.1" } },
})

FILES["told.lua"] = [[
  local S = require "tidegate.schema"
  local P = { name = "told", version = "1.0.0", api = 1, stage = "edge", schema = S.record {} }
  function P.access(_, ctx)
    ctx:exit(200, ("%s %s %s %s"):format(ctx.tls.sni, ctx.tls.resumed, ctx.tls.version,
      ctx.client.cert and ctx.client.cert.subject))
  end
  return P
]]

local function origin_config(certificate, extra)
  return ([[
    local tg = require "tidegate"
    tg.settings { workers = 1 }
    tg.listener "https" { address = "127.0.0.1:@PORT@", tls = {
      certificates = { { cert = tg.file "%s.pem", key = tg.file "%s.key" } },
      client_auth = { mode = "optional", ca = tg.file "ca.pem" }, %s } }
    tg.route "all" { plugins = { tg.use "./told.lua" {} } }
  ]]):format(certificate, certificate, extra or "")
end

local function front_config(settings, keepalive)
  return ([[
    local tg = require "tidegate"
    tg.settings { workers = 4, limits = { upstream = { keepalive = %d } } }
    tg.listener "http" { address = "127.0.0.1:@PORT@" }
    tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } }, tls = { %s } }
    tg.route "all" { service = "back" }
  ]]):format(keepalive or 0, settings)
end

local TRUST = 'ca = tg.file "ca.pem",'

describe("TLS to an origin", function()
  -- Starts an origin with `certificate` and a gateway before it with `settings`.
  local function with(certificate, settings, body, extra)
    local o = gateway.start({ config = origin_config(certificate, extra), files = FILES })
    local g = gateway.start({ config = front_config(settings), files = FILES, vars = { ORIGIN = o.port } })
    body(g, o)
    g:stop()
    o:stop()
  end

  local function refuses(certificate, settings, code, words)
    with(certificate, settings, function(g)
      local response = client.get(g.port, "/")
      assert.status(502, response)
      assert.contains(('"code":"%s"'):format(code), response.body)
      g:wait_for_log(words)
    end)
  end

  it("is verified by given roots and the target's address", function()
    with("back", TRUST, function(g)
      assert.equal("nil false 1.3 nil", client.get(g.port, "/").body)
    end)
  end)

  it("asks for a name and verifies it", function()
    with("named", TRUST .. 'sni = "named.test",', function(g)
      assert.equal("named.test false 1.3 nil", client.get(g.port, "/").body)
    end)
  end)

  it("fails where the certificate is for another name", function()
    refuses("named", TRUST, "upstream_untrusted", "IP address mismatch")
    refuses("back", TRUST .. 'sni = "named.test",', "upstream_untrusted", "hostname mismatch")
  end)

  it("fails where nobody that is trusted has signed it", function()
    refuses("alone", TRUST, "upstream_untrusted", "self-signed certificate")
    refuses("back", "", "upstream_untrusted", "unable to get local issuer certificate")
  end)

  it("passes unverified only where the service says so", function()
    with("alone", "verify = false,", function(g)
      assert.equal("nil false 1.3 nil", client.get(g.port, "/").body)
    end)
  end)

  it("shows the gateway's own certificate", function()
    with("back", TRUST .. 'cert = tg.file "own.pem", key = tg.secret "file:own.key",', function(g)
      assert.equal("nil false 1.3 CN=gateway", client.get(g.port, "/").body)
    end)
  end)

  it("pins public keys", function()
    local pin
    with("back", TRUST, function(g)
      pin = tls.run(g.dir, { "sh", "-c", "openssl x509 -in back.pem -pubkey -noout | openssl pkey -pubin " ..
        "-outform der | openssl dgst -sha256 -binary | base64" }).out:match("%S+")
    end)
    with("back", TRUST .. ('pins = { "sha256/%s" },'):format(pin), function(g)
      assert.status(200, client.get(g.port, "/"))
    end)
    local other = ("A"):rep(43) .. "="
    refuses("back", TRUST .. ('pins = { "sha256/%s" },'):format(other), "upstream_untrusted",
      "none of those that are pinned")
  end)

  it("resumes sessions, whichever worker began them", function()
    with("back", TRUST, function(g)
      assert.equal("nil false 1.3 nil", client.get(g.port, "/").body)
      for _ = 1, 20 do
        assert.equal("nil true 1.3 nil", client.get(g.port, "/").body)
      end
    end)
  end)

  -- What the log says of a target that is checked with `check`.
  local function checked(settings, check, words)
    local o = gateway.start({ config = origin_config("back"), files = FILES })
    local health = ("health = { active = { %s } }, tls = {"):format(check)
    local config = front_config(settings .. 'sni = "back.test",'):gsub("tls = {", health)
    local g = gateway.start({ config = config, files = FILES, vars = { ORIGIN = o.port } })
    g:wait_for_log(words)
    g:stop()
    o:stop()
  end

  it("is what health checks speak too", function()
    local check = 'path = "/", every = "1s", timeout = "1s", fall = 1, jitter = 0, statuses = { 204 }'
    checked(TRUST, check, [[reason="status 200"]])
    checked("", check, "unable to get local issuer certificate")
  end)

  it("is 502 where the origin speaks no TLS", function()
    local plain = gateway.start({ config = [[
      local tg = require "tidegate"
      tg.listener "http" { address = "127.0.0.1:@PORT@" }
      tg.route "all" { service = tg.service "echo" { builtin = "echo" } }
    ]] })
    local g = gateway.start({ config = front_config(TRUST), files = FILES, vars = { ORIGIN = plain.port } })
    local response = client.get(g.port, "/")
    assert.status(502, response)
    g:wait_for_log("the other side does not speak TLS (wrong version number)")
    assert.contains('"code":"upstream_tls_failed"', response.body)
    g:stop()
    plain:stop()
  end)
end)

describe("an OpenSSL server as origin", function()
  -- Starts it with TLS 1.2 alone, and a gateway with `settings` before it.
  local function with(settings, body)
    local host, port = socket.own_address(), 9902
    local target = ("%s:%d"):format(host, port)
    local config = front_config(settings .. 'sni = "back.test",'):gsub("127%.0%.0%.1:@ORIGIN@", target)
    local g = gateway.start({ config = config, files = FILES })
    local server = process.spawn({ cwd = g.dir, argv = { "openssl", "s_server",
      "-accept", target, "-quiet", "-cert", "back.pem", "-key", "back.key",
      "-tls1_2", "-HTTP" } })
    g:write("page", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    require("support.clock").wait_until(function()
      local probe = socket.try_connect({ host = host, port = port })
      return probe and (probe:close() or true)
    end, 5, "the server")
    body(g)
    server:kill()
    g:stop()
  end

  it("is spoken to in TLS 1.2", function()
    with(TRUST, function(g)
      assert.equal("hi", client.get(g.port, "/page").body)
    end)
  end)

  it("is not spoken to where the service wants 1.3", function()
    with(TRUST .. 'min_version = "1.3",', function(g)
      assert.contains('"code":"upstream_tls_failed"', client.get(g.port, "/page").body)
      g:wait_for_log("protocol version")
    end)
  end)
end)
