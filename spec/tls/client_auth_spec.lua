-- Certificates of clients, and the phase in which plugins have a say in a handshake.

local gateway = require("support.gateway")
local origin = require("support.origin")
local tls = require("support.tls")

local FILES = tls.files({
  api = { names = { "api.test" } },
  other = { names = { "other.test" } },
  ca = { cn = "partners" },
  alice = { cn = "alice", signer = "ca", names = { "alice.partner.test" } },
  mallory = { cn = "mallory" },
})

FILES["who.lua"] = [[
  local S = require "tidegate.schema"
  local P = { name = "who", version = "1.0.0", api = 1, stage = "edge", schema = S.record {} }
  function P.access(_, ctx)
    local cert = ctx.client.cert
    if not cert then ctx:exit(200, "nobody") end
    local same = #cert.fingerprint == 64 and cert.pem():find("BEGIN CERTIFICATE", 1, true) ~= nil
    ctx:exit(200, ("%s %s %s %s"):format(cert.subject, cert.verified, same, table.concat(cert.san, ",")))
  end
  return P
]]

local function config(auth, rest)
  return ([[
    local tg = require "tidegate"
    tg.settings { workers = 2, limits = { request = { body = "1MiB" } } }
    tg.listener "https" { address = "127.0.0.1:@PORT@", tls = { fingerprint = true, certificates = {
      { cert = tg.file "api.pem", key = tg.file "api.key" },
      { cert = tg.file "other.pem", key = tg.file "other.key" } }, %s } }
    tg.service "echo" { builtin = "echo" }
    %s
  ]]):format(auth, rest or [[
    tg.route "strict" { paths = { "/strict" }, client_cert = "required",
                        plugins = { tg.use "./who.lua" {} } }
    tg.route "all" { plugins = { tg.use "./who.lua" {} } }
  ]])
end

local function auth(mode)
  return ('client_auth = { mode = "%s", ca = tg.file "ca.pem" }'):format(mode)
end

local ALICE = { "--cert", "alice.pem", "--key", "alice.key" }
local MALLORY = { "--cert", "mallory.pem", "--key", "mallory.key" }
local URL = "https://api.test:@PORT@/"

describe("client certificates", function()
  local function with(text, body)
    local g = gateway.start({ config = text, files = FILES })
    body(g, function(path, ...)
      return tls.curl(g, "-k", URL .. path, ...)
    end)
    g:stop()
  end

  it("are shown to plugins, trusted or not, where they are optional", function()
    with(config(auth("optional")), function(_, get)
      assert.equal("nobody", get("").out)
      assert.equal("CN=alice true true alice.partner.test", get("", unpack(ALICE)).out)
      assert.equal("CN=mallory false true ", get("", "--cert", "mallory.pem", "--key", "mallory.key").out)
    end)
  end)

  it("may be required by a route: 403 for others", function()
    with(config(auth("optional")), function(_, get)
      local refused = get("strict", "-w", "%{http_code}")
      assert.contains('"code":"client_certificate_required"', refused.out)
      assert.contains("403", refused.out)
      assert.contains("403", get("strict", "-w", "%{http_code}", unpack(MALLORY)).out)
      assert.contains("CN=alice true", get("strict", "--cert", "alice.pem", "--key", "alice.key").out)
    end)
  end)

  it("may be required by a listener: the handshake fails without", function()
    with(config(auth("required")), function(g, get)
      assert.equal("CN=alice true true alice.partner.test", get("", unpack(ALICE)).out)
      assert.is_true(get("").code ~= 0)
      assert.is_true(get("", "--cert", "mallory.pem", "--key", "mallory.key").code ~= 0)
      g:wait_for_log("peer did not return a certificate")
    end)
  end)

  it("are not asked for where nobody wants them", function()
    with(config(""), function(_, get)
      assert.equal("nobody", get("", unpack(ALICE)).out)
      assert.contains("client_certificate_required", get("strict").out)
    end)
  end)
end)

local PLUGIN = [[
  local tg = require "tidegate"
  local S = require "tidegate.schema"
  local P = { name = "gatekeeper", version = "1.0.0", api = 1, stage = "edge", needs = { http = true },
              schema = S.record { cert = S.string(), key = S.string() } }
  function P.certificate(conf, ctx)
    local name = ctx.tls.sni
    assert(ctx.tls.alpn == nil and ctx.tls.version == nil and ctx.client.ip == "127.0.0.1")
    if name == "no.test" then ctx.tls:reject "access_denied" end
    if name == "fail.test" then error "broken" end
    if name == "spin.test" then while true do end end
    if name == "chosen.test" then ctx.tls:certificate "other.test" end
    if name == "given.test" then ctx.tls:certificate { cert = conf.cert, key = conf.key } end
    if name == "asked.test" then ctx.tls:request_client_cert {} end
    if name == "fetched.test" then
      local res = assert(tg.http.get("authority", "/may"))
      if res.body ~= "yes" then ctx.tls:reject() end
    end
    if name == "mistaken.test" then ctx.tls:request_client_cert { ca = { conf.cert } } end
    if name == "bad.test" then ctx.tls:certificate { cert = conf.cert, key = "nonsense" } end
  end
  function P.access(_, ctx) ctx:exit(200, ctx.tls.ja4 .. " " .. (ctx.client.cert and "with" or "without")) end
  return P
]]

describe("the certificate phase", function()
  local g, o

  setup(function()
    o = origin.listen()
    FILES["gatekeeper.lua"] = PLUGIN
    g = gateway.start({ files = FILES, vars = { ORIGIN = o.port }, config = config("", [[
      tg.service "authority" { targets = { { "127.0.0.1:@ORIGIN@" } } }
      tg.global { tg.use("./gatekeeper.lua", { limits = { cpu = "100ms" } }) {
        cert = tg.file "mallory.pem", key = tg.file "mallory.key" } }
      tg.route "all" { service = "echo" }
    ]]) })
  end)

  teardown(function()
    g:stop()
  end)

  local function visit(name, ...)
    return tls.s_client(g, "-servername", name, ...)
  end

  it("chooses a certificate by name, or brings one", function()
    assert.equal("api.test", visit("api.test").subject)
    assert.equal("other.test", visit("chosen.test").subject)
    assert.equal("mallory", visit("given.test").subject)
    assert.equal("mallory", visit("given.test", "-tls1_2").subject)
  end)

  it("rejects with an alert", function()
    assert.equal(49, visit("no.test").alert)
  end)

  it("asks the client for a certificate", function()
    local r = tls.curl(g, "-k", "https://asked.test:@PORT@/", "--cert", "alice.pem", "--key", "alice.key")
    assert.contains(" with", r.out)
    r = tls.curl(g, "-k", URL, "--cert", "alice.pem", "--key", "alice.key")
    assert.contains(" without", r.out)
    assert.matches("^t13d%d%d%d%dh[12]_%x+_%x+ ", r.out)
  end)

  it("waits while a service is asked", function()
    local name = g.dir .. "/answer"
    local command = "(curl -sk --connect-to ::127.0.0.1: https://fetched.test:%d/ > %s; echo done >> %s) &"
    os.execute(command:format(g.port, name, name))
    local conn = o:accept()
    conn:request()
    conn:reply({ body = "yes" })
    require("support.clock").wait_until(function()
      return (g:read("answer") or ""):find("done")
    end, 5, "the answer")
    assert.contains("without", g:read("answer"))
  end)

  it("ends the handshake when a plugin fails, spins, or gives rubbish", function()
    assert.equal(80, visit("fail.test").alert)
    g:wait_for_log("broken")
    assert.equal(80, visit("bad.test").alert)
    g:wait_for_log("it holds no private key in PEM")
    assert.equal(80, visit("mistaken.test").alert)
    g:wait_for_log("cert, key and ca are PEM, as text")
    if (os.getenv("TIDEGATE_BUILD") or "release") == "release" then
      assert.equal(80, visit("spin.test").alert)
    end
    assert.equal("api.test", visit("api.test").subject)
  end)
end)
