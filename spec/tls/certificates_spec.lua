-- Which certificate a client is shown, which versions are spoken, and what is wrong with a configuration.

local gateway = require("support.gateway")
local tls = require("support.tls")

local FILES = tls.files({
  main = { names = { "api.test", "127.0.0.1" } },
  main_rsa = { names = { "api.test" }, rsa = true },
  wide = { names = { "*.wide.test" } },
  deep = { names = { "*.deep.wide.test" } },
  exact = { names = { "one.wide.test" } },
  old = { names = { "old.test" }, expired = true },
})

local function config(extra, certificates)
  return ([[
    local tg = require "tidegate"
    tg.settings { workers = 1 }
    tg.listener "https" { address = "127.0.0.1:@PORT@", %s tls = { %s certificates = { %s } } }
    tg.service "echo" { builtin = "echo" }
    tg.route "all" { service = "echo" }
  ]]):format(extra.listener or "", extra.tls or "", certificates)
end

local function pair(name, extra)
  return ('{ cert = tg.file "%s.pem", key = tg.secret "file:%s.key", %s },'):format(name, name, extra or "")
end

local ALL = pair("main") .. pair("main_rsa") .. pair("wide") .. pair("deep") .. pair("exact")

describe("certificates by name", function()
  local g

  setup(function()
    g = gateway.start({ config = config({}, ALL), files = FILES })
  end)

  teardown(function()
    g:stop()
  end)

  for name, expected in pairs({
    ["api.test"] = "api.test",
    ["API.Test"] = "api.test",
    ["one.wide.test"] = "one.wide.test",
    ["two.wide.test"] = "*.wide.test",
    ["a.deep.wide.test"] = "*.deep.wide.test",
    ["a.b.wide.test"] = "*.wide.test",
    ["other.test"] = "api.test",
  }) do
    it("shows " .. expected .. " to who asks for " .. name, function()
      assert.equal(expected, tls.s_client(g, "-servername", name).subject)
    end)
  end

  it("shows the default one to who asks for none", function()
    assert.equal("api.test", tls.s_client(g, "-noservername").subject)
  end)

  it("shows ECDSA where the client can, RSA where it must", function()
    assert.equal("ECDSA", tls.s_client(g, "-servername", "api.test", "-tls1_2").signature)
    local r = tls.s_client(g, "-servername", "api.test", "-sigalgs", "RSA-PSS+SHA256")
    assert.equal("RSA-PSS", r.signature)
  end)

  it("is what curl trusts", function()
    local r = tls.curl(g, "--cacert", "main.pem", "https://api.test:@PORT@/x")
    assert.equal(0, r.code, r.err)
    assert.contains('["X-Forwarded-Proto","https"]', r.out)
    assert.contains("proto=https", r.out)
    assert.contains(('["X-Forwarded-Port","%d"]'):format(g.port), r.out)
  end)

  it("speaks 1.2 and 1.3, and nothing older", function()
    assert.equal("TLSv1.2", tls.s_client(g, "-tls1_2").version)
    assert.equal("TLSv1.3", tls.s_client(g, "-tls1_3").version)
    assert.equal(70, tls.s_client(g, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0").alert)
  end)

  it("agrees on http/1.1, and says no to who wants something else alone", function()
    assert.equal("http/1.1", tls.s_client(g, "-alpn", "h3,http/1.1").alpn)
    assert.equal(120, tls.s_client(g, "-alpn", "spdy/1").alert)
    assert.is_nil(tls.s_client(g).alpn)
  end)
end)

describe("a listener's policy", function()
  -- Starts a gateway, hands it over, and sees it end well.
  local function with(extra, certificates, body)
    local g = gateway.start({ config = config(extra, certificates), files = FILES })
    body(g)
    g:stop()
  end

  it("may refuse names that no certificate is for", function()
    with({ tls = 'unknown_sni = "reject",' }, ALL, function(g)
      assert.equal(112, tls.s_client(g, "-servername", "other.test").alert)
      assert.equal("api.test", tls.s_client(g, "-servername", "api.test").subject)
    end)
  end)

  it("may be modern: TLS 1.3 alone", function()
    with({ tls = 'profile = "modern",' }, ALL, function(g)
      assert.equal(70, tls.s_client(g, "-tls1_2").alert)
      assert.equal("TLSv1.3", tls.s_client(g).version)
    end)
  end)

  it("may raise the oldest version", function()
    with({ tls = 'min_version = "1.3",' }, ALL, function(g)
      assert.equal(70, tls.s_client(g, "-tls1_2").alert)
    end)
  end)

  it("may tell browsers to come by https alone", function()
    local hsts = 'hsts = { max_age = "1h", include_subdomains = true },'
    with({ listener = hsts }, ALL, function(g)
      local r = tls.curl(g, "-k", "-i", "https://api.test:@PORT@/")
      assert.contains("strict-transport-security: max-age=3600; includeSubDomains\r\n", r.out)
    end)
  end)

  it("takes new certificates with a reload, without a restart", function()
    with({}, pair("main"), function(g)
      assert.equal("api.test", tls.s_client(g).subject)
      local old = g:pids()
      g:write("main.pem", FILES["exact.pem"])
      g:write("main.key", FILES["exact.key"])
      g:signal("HUP")
      g:wait_for_log("is in force (revision 2)")
      assert.equal("one.wide.test", tls.s_client(g).subject)
      assert.same(old, g:pids())
    end)
  end)
end)

describe("a configuration", function()
  local function check(text)
    local files = { ["gateway.lua"] = text }
    for name, content in pairs(FILES) do
      files[name] = content
    end
    local dir = assert(require("posix.stdlib").mkdtemp("/tmp/tidegate-spec-XXXXXX"))
    for name, content in pairs(files) do
      local file = assert(io.open(dir .. "/" .. name, "wb"))
      file:write((content:gsub("@PORT@", "8443")))
      file:close()
    end
    local r = tls.run(dir, { os.getenv("TIDEGATE_BIN"), "check", "gateway.lua" })
    os.execute("rm -rf " .. dir)
    return r
  end

  local function refuses(text, ...)
    local r = check(text)
    assert.equal(1, r.code)
    for _, words in ipairs({ ... }) do
      assert.contains(words, r.out)
    end
    local line = FILES["main.key"]:match("KEY%-%-%-%-%-\n(%S+)")
    assert.is_nil(r.out:find(line, 1, true), "a key is shown")
  end

  it("is refused when a key does not belong to its certificate, and names file and place", function()
    refuses(config({}, '{ cert = tg.file "main.pem", key = tg.file "exact.key" }'),
      "listeners.https.tls.certificates[1].key: exact.key: the key does not belong to the certificate", ":3:")
  end)

  it("is refused when a file cannot be read", function()
    refuses(config({}, '{ cert = tg.file "none.pem", key = tg.file "main.key" }'), "cannot read none.pem")
  end)

  it("is refused when the text is no PEM", function()
    refuses(config({}, '{ cert = "main.pem", key = tg.file "main.key" }'), "not a certificate in PEM")
    refuses(config({}, '{ cert = tg.file "main.key", key = tg.file "main.key" }'),
      "main.key: it holds no certificate in PEM")
  end)

  it("is refused when two certificates of one kind are for one name", function()
    refuses(config({}, pair("exact") .. pair("main", 'hosts = { "one.wide.test" }')),
      "certificates[1] and certificates[2] are both ECDSA and for one.wide.test")
  end)

  it("is refused when it contradicts itself", function()
    refuses(config({ tls = 'profile = "modern", min_version = "1.2",' }, ALL), "no TLS 1.2")
    refuses(config({ tls = 'client_auth = { mode = "required" },' }, ALL), "client_auth.ca: missing")
    refuses(config({ listener = 'redirect = "https",' }, ALL), "https already")
    refuses(config({ listener = "proxy_protocol = true," }, ALL), "nobody is trusted")
  end)

  it("warns of a certificate that has expired, and loads", function()
    local r = check(config({}, pair("old")))
    assert.equal(0, r.code, r.out)
    assert.contains("warning: listeners.https.tls.certificates[1].cert: old.pem: the certificate expired on",
      r.out)
  end)
end)

describe("examples/tls", function()
  it("serves, redirects, and speaks TLS to its origin", function()
    local held, port = require("support.socket").reserve_port()
    require("posix.unistd").close(held)
    local g = gateway.start({
      file = "examples/tls/gateway.lua",
      files = { ["api.pem"] = FILES["main.pem"], ["api.key"] = FILES["main.key"] },
      edit = function(text)
        return (text:gsub("8080", port):gsub("8443", "@PORT@"))
      end,
    })
    local r = tls.curl(g, "--cacert", "api.pem", "-i", "https://127.0.0.1:@PORT@/inner")
    assert.contains("HTTP/2 200", r.out)
    assert.contains("strict-transport-security: max-age=3600", r.out)
    assert.contains('["Via","2.0 tidegate"],["Via","1.1 tidegate"]', r.out)
    r = tls.curl(g, "-i", ("http://127.0.0.1:%d/a?b=c"):format(port))
    assert.contains(("Location: https://127.0.0.1:%d/a?b=c"):format(g.port), r.out)
    g:stop()
  end)
end)
