-- OCSP responses that are stapled: asked for by the gateway from a responder, or read from a file; what is not good
-- is never stapled, and no handshake waits.

local clock = require("support.clock")
local gateway = require("support.gateway")
local process = require("support.process")
local socket = require("support.socket")
local tls = require("support.tls")
local unistd = require("posix.unistd")

local MADE = tls.files({
  ca = { cn = "spec root" },
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

  -- What an authority knows of main.test: "V" valid or "R" revoked.
  local function write_index(dir, state)
    local serial = tls.run(dir, { "openssl", "x509", "-in", "main.pem", "-noout", "-serial" }).out
    local file = assert(io.open(dir .. "/index.txt", "wb"))
    file:write(("%s\t400101000000Z\t%s\t%s\tunknown\t/CN=main.test\n"):format(state,
      state == "R" and "200101000000Z" or "", serial:match "=(%x+)"))
    file:close()
  end

  -- The gateway's folder has what openssl needs to be a responder; it answers as long as the spec runs.
  local function respond(dir, port, state, signer)
    write_index(dir, state or "V")
    signer = signer or "ca"
    local out = process.output(dir .. "/responder.log")
    responder = process.spawn({ cwd = dir, stdout = out, stderr = out, argv = {
      "openssl", "ocsp", "-index", "index.txt", "-port", tostring(port), "-rsigner", signer .. ".pem",
      "-rkey", signer .. ".key", "-CA", "ca.pem", "-nmin", "5",
    } })
    unistd.close(out)
    clock.wait_until(function() -- a connection without a question would be the last that it takes
      local file = assert(io.open(dir .. "/responder.log"))
      local text = file:read("*a")
      file:close()
      return text:find("waiting for OCSP client connections", 1, true) ~= nil
    end, 5, "the responder")
  end

  local function status(...)
    return tls.s_client(g, "-status", "-servername", "main.test", ...).out
  end

  it("is asked for, checked, and shown to who wants it", function()
    local port = socket.refusing_port()
    start('url = "http://127.0.0.1:@RESPONDER@/ocsp"', { responder = port })
    g:wait_for_log("no OCSP response to staple")
    assert.contains("OCSP response: no response sent", status())
    respond(g.dir, port)
    g:write("gateway.lua", CONFIG:format(('url = "http://127.0.0.1:%d/"'):format(port)):gsub("@PORT@", g.port))
    g:signal("HUP")
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
    local port = socket.refusing_port()
    start('url = "http://127.0.0.1:@RESPONDER@/"', { responder = port })
    g:wait_for_log("no OCSP response to staple")
    respond(g.dir, port)
    local config = CONFIG:format(('url = "http://127.0.0.1:%d/x"'):format(port)):gsub("@PORT@", g.port)
    g:write("gateway.lua", config)
    g:signal("HUP")
    g:wait_for_log("a new OCSP response is stapled")
    responder:kill()
    g:write("gateway.lua", config .. "\n-- another revision\n")
    g:signal("HUP")
    g:wait_for_log("is in force (revision 3)")
    assert.contains("Cert Status: good", status())
  end)

  for what, case in pairs({
    ["says that the certificate is revoked"] = { state = "R", reason = "the certificate is revoked" },
    ["is signed by somebody else"] = { signer = "other", reason = "the answer is not signed by the issuer" },
  }) do
    it("is none when it " .. what, function()
      local port = socket.refusing_port()
      start('url = "http://127.0.0.1:@RESPONDER@/"', { responder = port })
      g:wait_for_log("no OCSP response to staple")
      respond(g.dir, port, case.state, case.signer)
      g:write("gateway.lua", CONFIG:format(('url = "http://127.0.0.1:%d/x"'):format(port)):gsub("@PORT@", g.port))
      g:signal("HUP")
      g:wait_for_log(case.reason)
      assert.contains("OCSP response: no response sent", status())
    end)
  end

  it("may come from a file, which is checked with the configuration", function()
    local dir = assert(require("posix.stdlib").mkdtemp("/tmp/tidegate-spec-XXXXXX"))
    for name, text in pairs(FILES) do
      local file = assert(io.open(dir .. "/" .. name, "wb"))
      file:write(text)
      file:close()
    end
    write_index(dir, "V")
    local r = tls.run(dir, { "openssl", "ocsp", "-index", "index.txt", "-rsigner", "ca.pem", "-rkey", "ca.key",
      "-CA", "ca.pem", "-issuer", "ca.pem", "-cert", "main.pem", "-respout", "main.ocsp", "-nmin", "5" })
    assert.equal(0, r.code, r.err)
    local files = { ["main.ocsp"] = assert(io.open(dir .. "/main.ocsp", "rb")):read("*a") }
    for name, text in pairs(FILES) do files[name] = text end
    os.execute("rm -rf " .. dir)
    start('file = tg.file "main.ocsp"', { files = files })
    assert.contains("Cert Status: good", status())
    files["main.ocsp"] = "rubbish"
    g:write("main.ocsp", "rubbish")
    g:signal("HUP")
    g:wait_for_log("is not taken over")
    assert.contains("this is no OCSP response", g:stderr())
    assert.contains("tls.certificates[1].ocsp", g:stderr())
  end)

  it("needs a responder, or the configuration is refused", function()
    start("", { wait = false })
    assert.equal(1, g:wait(10).code)
    assert.contains("names no responder", g:stderr())
  end)
end)
