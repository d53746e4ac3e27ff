-- decompress: bodies of requests in every coding, whole and in pieces; what reaches origins and plugins;
-- bombs, damage and codings that are not taken.

local cjson = require("cjson")
local bundled = require("support.bundled")
local coding = require("support.coding")
local http = require("support.http")
local proxy = require("support.proxy")

local CODINGS = { "gzip", "br", "zstd" }
local TEXT = ("some words, and more of them; "):rep(200)

local READER = [[
  local P = { name = "reader", version = "1.0.0", api = 1, stage = "guard", needs = { body = "request" } }
  local S = require "tidegate.schema"
  P.schema = S.record { early = S.bool():default(false) }
  local function answer(ctx)
    local body = ctx.req:body { max = "1MiB" }
    return body
  end
  function P.rewrite(conf, ctx)
    if conf.early then ctx.state.coded = #answer(ctx) end
  end
  function P.access(conf, ctx)
    local body = answer(ctx)
    if not conf.early then ctx:exit(200, body) end
    ctx.upstream:set_header("x-coded", tostring(ctx.state.coded))
    ctx.upstream:set_header("x-decoded", tostring(#body))
  end
  return P
]]

describe("decompress", function()
  local p

  local function start(conf, options)
    options = options or {}
    options.route = ('plugins = { tg.use "decompress" { %s } %s }'):format(conf or "", options.plugins or "")
    p = proxy.start(options)
    local started = p
    finally(function() started:stop() end)
  end

  local function head(headers)
    headers.Host = "a"
    return ("POST / HTTP/1.1\r\n%s\r\n"):format(http.fields(headers))
  end

  -- What reaches the origin of a body with this Content-Encoding.
  local function forwarded(name, body, more)
    local headers = more or {}
    headers["Content-Encoding"] = name
    headers["Content-Length"] = #body
    return p:forwarded(head(headers) .. body)
  end

  -- How a request that no origin sees is answered.
  local function refused(status, name, body)
    local c = p:connect()
    c:send(head({ ["Content-Encoding"] = name, ["Content-Length"] = #body }) .. body)
    local r = c:response()
    assert.status(status, r)
    assert.header("Content-Type", "application/problem+json", r)
    return cjson.decode(r.body), r
  end

  -- The same where the origin may have seen the begin of it.
  local function broken(status, name, body)
    local c = p:connect()
    c:send(head({ ["Content-Encoding"] = name, ["Content-Length"] = #body }) .. body)
    p.origin:accept()
    local r = c:response()
    assert.status(status, r)
    return cjson.decode(r.body)
  end

  it("hands bodies on decoded, and says nothing of the coding", function()
    start()
    for _, name in ipairs(CODINGS) do
      local more = { ["Repr-Digest"] = "x", ["X-Other"] = "kept" }
      local request = forwarded(name, coding.encode(name, TEXT), more)
      assert.equal(TEXT, request.body)
      assert.is_nil(request.headers["content-encoding"])
      assert.is_nil(request.headers["content-length"])
      assert.is_nil(request.headers["repr-digest"])
      assert.equal("kept", request.headers["x-other"])
      assert.equal("chunked", request.headers["transfer-encoding"])
    end
  end)

  it("leaves other bodies, and requests without one, as they are", function()
    start()
    local request = p:forwarded(head({ ["Content-Length"] = 4 }) .. "text")
    assert.equal("text", request.body)
    assert.equal("4", request.headers["content-length"])
    assert.equal("text", forwarded("identity", "text").body)
    request = p:forwarded("GET / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n\r\n")
    assert.equal("gzip", request.headers["content-encoding"])
    assert.equal("", forwarded("gzip", "").body)
  end)

  it("decodes as the body comes, whatever the pieces", function()
    start()
    for _, name in ipairs(CODINGS) do
      local coded = coding.encode(name, TEXT)
      local c = p:connect()
      c:send(head({ ["Content-Encoding"] = name, ["Transfer-Encoding"] = "chunked" }))
      for at = 1, #coded do
        c:send(http.chunk(coded:sub(at, at)))
      end
      c:send("0\r\nX-Kept: yes\r\n\r\n")
      local conn = p.origin:accept()
      local request = conn:request()
      assert.equal(TEXT, request.body)
      assert.equal("yes", request.trailers["x-kept"])
      conn:reply({ headers = { Connection = "close" } })
      assert.status(200, c:response())
    end
  end)

  it("says which codings it takes when one is not", function()
    start('codings = { "gzip", "br" }')
    for _, name in ipairs { "zstd", "deflate", "lzma", "gzip, gzip" } do
      local problem, r = refused(415, name, "whatever")
      assert.equal("unsupported_encoding", problem.code)
      assert.header("Accept-Encoding", "gzip, br", r)
    end
    assert.equal(TEXT, forwarded("x-gzip", coding.encode("gzip", TEXT)).body)
  end)

  it("refuses what is not what it says, wherever it ends", function()
    start("", { plugins = ', tg.use "./reader.lua" {}', files = { ["reader.lua"] = READER } })
    for _, name in ipairs(CODINGS) do
      local coded = coding.encode(name, "a short text, a text")
      for n = 1, #coded - 1 do
        local problem = refused(400, name, coded:sub(1, n))
        assert.contains("Content-Encoding", problem.detail)
      end
      refused(400, name, coded .. "x")
      refused(400, name, "<html></html>")
    end
    assert.is_true(#refused(400, "gzip", "\31\139").request_id == 32)
  end)

  it("breaks the origin's request off when that shows later", function()
    start()
    local text = {}
    for i = 1, 20000 do text[i] = i end
    local coded = coding.encode("gzip", table.concat(text, " "))
    assert.equal("bad_request", broken(400, "gzip", coded:sub(1, -9) .. "damaged!").code)
    assert.is_true(p:serves())
  end)

  it("stops bombs by their ratio, and large bodies by their size", function()
    start('max = "512KiB"', { limits = "request = { decode_ratio = 50 }" })
    local zeroes = ("\0"):rep(4 * 1024 * 1024)
    for _, name in ipairs(CODINGS) do
      assert.contains("too many times its size", broken(413, name, coding.encode(name, zeroes)).detail)
    end
    p:stop()
    start('max = "512KiB"', { limits = "request = { decode_ratio = 100000 }" })
    for _, name in ipairs(CODINGS) do
      assert.contains("larger than is taken", broken(413, name, coding.encode(name, zeroes)).detail)
    end
    assert.equal(zeroes:sub(1, 500000), forwarded("gzip", coding.encode("gzip", zeroes:sub(1, 500000))).body)
    p:stop()
    start('max = "1GiB"', { limits = 'request = { decode_ratio = 100000, decoded = "64KiB" }' })
    broken(413, "gzip", coding.encode("gzip", zeroes))
  end)

  it("gives later plugins the decoded body", function()
    start("", { plugins = ', tg.use "./reader.lua" {}', files = { ["reader.lua"] = READER } })
    for _, name in ipairs(CODINGS) do
      local c = p:connect()
      local coded = coding.encode(name, TEXT)
      c:send(head({ ["Content-Encoding"] = name, ["Content-Length"] = #coded, Expect = "100-continue" }))
      c:send(coded)
      local r = c:response()
      assert.equal(TEXT, r.body)
    end
  end)

  it("decodes what an earlier plugin has read already", function()
    start("", { plugins = ', tg.use "./reader.lua" { early = true }', files = { ["reader.lua"] = READER },
                more = 'tg.global { tg.use("./reader.lua", { id = "first" }) { early = true } }' })
    local coded = coding.encode("gzip", TEXT)
    local request = forwarded("gzip", coded)
    assert.equal(TEXT, request.body)
    assert.equal(tostring(#TEXT), request.headers["content-length"])
    assert.equal(tostring(#TEXT), request.headers["x-decoded"])
    assert.equal(tostring(#coded), request.headers["x-coded"])
  end)

  it("keeps decoded bytes for another attempt", function()
    start("", { service = [[
      retry = { attempts = 2, methods = { "POST" }, backoff = { base = "1ms", max = "1ms" } }]] })
    local coded = coding.encode("br", TEXT)
    local c = p:connect()
    c:send(head({ ["Content-Encoding"] = "br", ["Content-Length"] = #coded }) .. coded)
    local conn = p.origin:accept()
    assert.equal(TEXT, conn:request().body)
    conn:reset()
    conn = p.origin:accept()
    assert.equal(TEXT, conn:request().body)
    conn:reply({ headers = { Connection = "close" } })
    assert.status(200, c:response())
  end)

  it("unfolds no faster than the origin takes it", function()
    local MIB = 1024 * 1024
    start('max = "1GiB"', { limits = 'request = { decode_ratio = 2000, decoded = "1GiB" }' })
    local coded = coding.encode("gzip", ("\0"):rep(64 * MIB))
    local before = p:own_memory()
    local c = p:connect()
    c:send(head({ ["Content-Encoding"] = "gzip", ["Content-Length"] = #coded }) .. coded)
    local conn = p.origin:accept()
    conn:request_head()
    assert.is_true(p:serves())
    if (os.getenv("TIDEGATE_BUILD") or "release") == "release" then
      assert.is_true(p:own_memory() - before < 8 * MIB)
    end
    local n = 0
    local size = tonumber(conn:receive_until("\r\n"), 16)
    while size > 0 do
      n = n + #conn:receive(size)
      conn:receive(2)
      size = tonumber(conn:receive_until("\r\n"), 16)
    end
    assert.equal(64 * MIB, n)
    c:close()
    conn:close()
  end)

  it("refuses settings that mean nothing", function()
    assert.contains("codings", bundled.check("decompress", '{ codings = { "lzma" } }'))
    assert.contains("max", bundled.check("decompress", '{ max = "1B" }'))
  end)
end)
