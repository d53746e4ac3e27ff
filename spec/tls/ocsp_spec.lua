-- OCSP responses that are stapled: asked for by the gateway from a responder, or read from a file; what is
-- not good is never stapled, and no handshake waits.

local clock = require("support.clock")
local gateway = require("support.gateway")
local process = require("support.process")
local socket = require("support.socket")
local stdlib = require("posix.stdlib")
local tls = require("support.tls")
local unistd = require("posix.unistd")

local MADE = tls.files({
  ca = { cn = "spec root", rsa = true },
  main = { names = { "main.test" }, signer = "ca" },
  other = { cn = "another root" },
})

local FILES = {
  ["chain.pem"] = MADE["main.pem"] .. MADE["ca.pem"], ["main.key"] = MADE["main.key"],
  ["ca.pem"] = MADE["ca.pem"], ["ca.key"] = MADE["ca.key"], ["main.pem"] = MADE["main.pem"],
  ["other.pem"] = MADE["other.pem"], ["other.key"] = MADE["other.key"],
}

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 2, admin = { listen = "unix:admin.sock" } }
  tg.listener "https" { address = "127.0.0.1:@PORT@", tls = { certificates = {
    { cert = tg.file "chain.pem", key = tg.file "main.key", ocsp = { %s } } } } }
  tg.service "echo" { builtin = "echo" }
  tg.route "all" { service = "echo" }
]]

local WARNING = "the OCSP response of ocsp.file has expired and is not stapled: renew the file and reload"

-- Where the DER element at `at` has its contents.
local function der_contents(der, at)
  local n = der:byte(at + 1)
  return n < 128 and at + 2 or at + 2 + n - 128
end

-- Where the one after it begins.
local function der_end(der, at)
  local first, n = der_contents(der, at), der:byte(at + 1)
  if n < 128 then return first + n end
  n = 0
  for i = at + 2, first - 1 do n = n * 256 + der:byte(i) end
  return first + n
end

describe("a stapled OCSP response", function()
  local g, responder

  local function start(ocsp, options)
    options = options or {}
    g = gateway.start({ config = CONFIG:format(ocsp), files = options.files or FILES,
                        vars = { RESPONDER = options.responder }, wait = options.wait })
    local started = g
    responder = nil
    if options.wait == false then return end
    finally(function()
      if responder then responder:kill() end
      started:stop()
    end)
  end

  local function write(dir, name, text)
    local file = assert(io.open(dir .. "/" .. name, "wb"))
    file:write(text)
    file:close()
  end

  -- What an authority knows of main.test: "V" valid or "R" revoked.
  local function write_index(dir, state)
    local serial = tls.run(dir, { "openssl", "x509", "-in", "main.pem", "-noout", "-serial" }).out
    write(dir, "index.txt", ("%s\t400101000000Z\t%s\t%s\tunknown\t/CN=main.test\n"):format(state,
      state == "R" and "200101000000Z" or "", serial:match "=(%x+)"))
  end

  -- What `work` returns, in a folder that has FILES.
  local function in_folder(work)
    local dir = assert(stdlib.mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/tidegate-spec-XXXXXX"))
    for name, text in pairs(FILES) do write(dir, name, text) end
    local result = work(dir)
    os.execute(("rm -rf '%s'"):format(dir))
    return result
  end

  local function openssl(dir, out, ...)
    local r = tls.run(dir, { "openssl", ... })
    assert.equal(0, r.code, r.err)
    local file = assert(io.open(dir .. "/" .. out, "rb"))
    local text = file:read("*a")
    file:close()
    return text
  end

  -- A response (DER) that says good of main.test, from now on.
  local function response()
    return in_folder(function(dir)
      write_index(dir, "V")
      return openssl(dir, "main.ocsp", "ocsp", "-index", "index.txt", "-rsigner", "ca.pem", "-rkey", "ca.key",
        "-CA", "ca.pem", "-issuer", "ca.pem", "-cert", "main.pem", "-respout", "main.ocsp", "-nmin", "60",
        "-resp_no_certs")
    end)
  end

  -- The same as it would have been given in the year 2020: its times, and with them its signature, which
  -- stands at the end, replaced. (RSA: it is as long as the other.)
  local function expired(der)
    local at = der_contents(der, 1)             -- OCSPResponse, its status
    at = der_contents(der, der_end(der, at))    -- responseBytes
    at = der_contents(der, at)                  -- its type
    at = der_contents(der, der_end(der, at))    -- BasicOCSPResponse
    at = der_contents(der, at)                  -- what is signed
    local signed = der:sub(at, der_end(der, at) - 1):gsub("\24\15%d%d%d%d", "\24\0152020")
    local signature = in_folder(function(dir)
      write(dir, "signed", signed)
      return openssl(dir, "signature", "dgst", "-sha256", "-sign", "ca.key", "-out", "signature", "signed")
    end)
    return der:sub(1, at - 1) .. signed .. der:sub(at + #signed, -#signature - 1) .. signature
  end

  local function with_response(der)
    local files = { ["main.ocsp"] = der }
    for name, text in pairs(FILES) do files[name] = text end
    return files
  end

  -- The gateway's folder has what openssl needs to be a responder; it answers as long as the spec runs.
  -- @return its port
  local function respond(dir, state, signer)
    write_index(dir, state or "V")
    signer = signer or "ca"
    local out = process.output(dir .. "/responder.log")
    responder = process.spawn({ cwd = dir, stdout = out, stderr = out, argv = {
      "openssl", "ocsp", "-index", "index.txt", "-port", "0", "-rsigner", signer .. ".pem",
      "-rkey", signer .. ".key", "-CA", "ca.pem", "-nmin", "5",
    } })
    unistd.close(out)
    local text
    clock.wait_until(function() -- a connection without a question would be the last that it takes
      local file = assert(io.open(dir .. "/responder.log"))
      text = file:read("*a")
      file:close()
      return text:find("waiting for OCSP client connections", 1, true) ~= nil
    end, 5, "the responder")
    local port = assert(tonumber(text:match "ACCEPT %S-:(%d+) "), text)
    return port
  end

  -- Another path makes another responder, which is asked at once.
  local function reload(port, more)
    g:reload(CONFIG:format(('url = "http://localhost:%d/x"'):format(port)) .. (more or ""))
  end

  local function status(...)
    return tls.s_client(g, "-status", "-servername", "main.test", ...).out
  end

  it("is asked for, checked, and shown to who wants it", function()
    start('url = "http://127.0.0.1:@RESPONDER@/ocsp"', { responder = socket.refusing_port() })
    g:wait_for_log("no OCSP response to staple")
    assert.contains("OCSP response: no response sent", status())
    local port = respond(g.dir)
    reload(port)
    g:wait_for_log("a new OCSP response is stapled")
    for _, version in ipairs { "-tls1_2", "-tls1_3" } do
      local out = status(version)
      assert.contains("OCSP Response Status: successful", out)
      assert.contains("Cert Status: good", out)
    end
    assert.is_nil(tls.s_client(g).out:find("OCSP Response Status", 1, true))
    local metrics = require("support.client").get({ unix = g.dir .. "/admin.sock" }, "/metrics").body
    assert.contains('tidegate_ocsp_responses_total{result="good"} 1', metrics)
    assert.contains('tidegate_ocsp_responses_total{result="failed"} 1', metrics)
    assert.matches('tidegate_certificate_not_after_timestamp_seconds{listener="https",certificate="1",'
      .. 'name="main.test",kind="ECDSA"} %d+\n', metrics)
  end)

  it("outlives a reload, and the responder", function()
    start('url = "http://127.0.0.1:@RESPONDER@/"', { responder = socket.refusing_port() })
    g:wait_for_log("no OCSP response to staple")
    local port = respond(g.dir)
    reload(port)
    g:wait_for_log("a new OCSP response is stapled")
    responder:kill()
    reload(port, "\n-- another revision\n")
    g:wait_for_log("is in force (revision 3)")
    assert.contains("Cert Status: good", status())
  end)

  for what, case in pairs({
    ["says that the certificate is revoked"] = { state = "R", reason = "the certificate is revoked" },
    ["is signed by somebody else"] = { signer = "other", reason = "the answer is not signed by the issuer" },
  }) do
    it("is none when it " .. what, function()
      start('url = "http://127.0.0.1:@RESPONDER@/"', { responder = socket.refusing_port() })
      g:wait_for_log("no OCSP response to staple")
      reload(respond(g.dir, case.state, case.signer))
      g:wait_for_log(case.reason)
      assert.contains("OCSP response: no response sent", status())
    end)
  end

  it("may come from a file, which is checked with the configuration", function()
    start('file = tg.file "main.ocsp"', { files = with_response(response()) })
    assert.contains("Cert Status: good", status())
    assert.is_nil(g:stderr():find("has expired", 1, true))
    g:write("main.ocsp", "rubbish")
    g:signal("HUP")
    g:wait_for_log("is not taken over")
    assert.contains("this is no OCSP response", g:stderr())
    assert.contains("tls.certificates[1].ocsp", g:stderr())
  end)

  it("is none when that of the file has expired, which is warned of and not refused", function()
    local good = response()
    start('file = tg.file "main.ocsp"', { files = with_response(expired(good)) })
    g:wait_for_log(WARNING)
    assert.contains("OCSP response: no response sent", status())
    g:write("main.ocsp", good)
    g:signal("HUP")
    g:wait_for_log("is in force (revision 2)")
    assert.contains("Cert Status: good", status())
    g:write("main.ocsp", expired(good))
    g:signal("HUP")
    g:wait_for_log("is in force (revision 3)")
    assert.contains("OCSP response: no response sent", status())
    clock.wait_until(function()
      return select(2, g:stderr():gsub("has expired and is not stapled", "")) == 2
    end, 5, "another warning")
  end)

  it("needs a responder, or the configuration is refused", function()
    start("", { wait = false })
    assert.equal(1, g:wait(10).code)
    assert.contains("names no responder", g:stderr())
  end)
end)
