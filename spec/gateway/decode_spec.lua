-- Compressed answers and body filters: decoded for the plugins that ask (needs.decode), passed as they are
-- to others; what becomes of their heads; and answers that are not what they say.

local bit = require("bit")
local coding_of = require("support.coding")
local ffi = require("ffi")
local http = require("support.http")
local proxy = require("support.proxy")

ffi.cdef [[
int compress2(uint8_t *dest, unsigned long *n, const uint8_t *source, unsigned long size, int level);
unsigned long crc32(unsigned long crc, const uint8_t *p, unsigned int n);
]]
local zlib = ffi.load("z")

local PLUGIN = [[
local P = { name = "upper", version = "1.0.0", api = 1, stage = "transform",
            needs = { body = "response", decode = %s } }
function P.header_filter(conf, ctx)
  ctx.resp:set_header("x-seen", tostring(ctx.resp:header "content-encoding") .. " "
                      .. tostring(ctx.upstream:header "content-encoding"))
  %s
end
function P.body_filter(_, ctx, chunk, eof)
  %s
end
return P
]]

local function little_endian(n)
  return string.char(bit.band(n, 255), bit.band(bit.rshift(n, 8), 255), bit.band(bit.rshift(n, 16), 255),
    bit.band(bit.rshift(n, 24), 255))
end

local function deflate(text)
  local room = #text + 1024
  local out, n = ffi.new("uint8_t[?]", room), ffi.new("unsigned long[1]", room)
  assert.equal(0, zlib.compress2(out, n, text, #text, 9))
  return ffi.string(out, n[0])
end

local function raw_deflate(text)
  return deflate(text):sub(3, -5)
end

-- RFC 1952: a head of ten bytes, raw deflate data, checksum and size.
local function gzip(text)
  return "\31\139\8\0\0\0\0\0\0\255" .. raw_deflate(text)
    .. little_endian(tonumber(zlib.crc32(0, text, #text))) .. little_endian(#text)
end

describe("an answer that is decoded", function()
  local p

  local function start(options)
    options = options or {}
    local text = PLUGIN:format(options.decode == false and "false" or "true", options.header_filter or "",
      options.body_filter or "return chunk:upper()")
    p = proxy.start({
      files = { ["upper.lua"] = text },
      limits = options.limits,
      route = 'plugins = { tg.use "./upper.lua" {} }',
    })
    local started = p
    finally(function() started:stop() end)
  end

  -- Asks, and has the origin answer with these headers and this body, on a connection of its own.
  local function ask(headers, body, status)
    headers.Connection = "close"
    local c, conn = p:exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:reply({ status = status, headers = headers, body = body })
    return c:response()
  end

  it("reaches body filters as text, whatever its coding", function()
    start()
    for _, case in ipairs {
      { "gzip", gzip }, { "X-GZIP", gzip }, { "deflate", deflate }, { "deflate", raw_deflate },
      { "br", function(text) return coding_of.encode("br", text) end },
      { "zstd", function(text) return coding_of.encode("zstd", text) end },
    } do
      local answer = ask({ ["Content-Encoding"] = case[1] }, case[2]("some text"))
      assert.status(200, answer)
      assert.equal("SOME TEXT", answer.body)
      assert.is_nil(answer.headers["content-encoding"])
      assert.equal("nil " .. case[1], answer.headers["x-seen"])
    end
  end)

  it("is put together from whatever pieces it came in", function()
    start()
    local text = ("0123456789 abcdefghij "):rep(20)
    local coded = gzip(text)
    local c, conn = p:exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n\r\n")
    conn:send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n")
    for at = 1, #coded do
      conn:send(http.chunk(coded:sub(at, at)))
    end
    conn:send("0\r\nRepr-Digest: sha-256=:AA==:\r\nX-Kept: yes\r\n\r\n")
    local answer = c:response()
    assert.equal(text:upper(), answer.body)
    assert.equal("yes", answer.trailers["x-kept"])
    assert.is_nil(answer.trailers["repr-digest"])
  end)

  it("loses what its head says of the coded bytes", function()
    start()
    local answer = ask({
      ["Content-Encoding"] = "gzip", ETag = '"v1"', ["Content-MD5"] = "x", Digest = "x",
      ["Content-Digest"] = "x", ["Repr-Digest"] = "x", ["Accept-Ranges"] = "bytes", ["X-Other"] = "kept",
      Vary = "Accept-Encoding",
    }, gzip("text"))
    assert.equal('W/"v1"', answer.headers.etag)
    for _, name in ipairs { "content-md5", "digest", "content-digest", "repr-digest", "accept-ranges",
                            "content-length" } do
      assert.is_nil(answer.headers[name])
    end
    assert.equal("kept", answer.headers["x-other"])
    assert.equal("Accept-Encoding", answer.headers.vary)
  end)

  it("has the same head when there is no body, and none to decode", function()
    start()
    local c, conn = p:exchange("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 30\r\n"
      .. 'Content-Encoding: gzip\r\nETag: "v1"\r\n\r\n')
    local answer = c:response({ method = "HEAD" })
    assert.equal('W/"v1"', answer.headers.etag)
    assert.is_nil(answer.headers["content-encoding"])
    assert.is_nil(answer.headers["content-length"])
    c, conn = p:exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:send('HTTP/1.1 304 Not Modified\r\nConnection: close\r\nETag: "v1"\r\n\r\n')
    answer = c:response()
    assert.status(304, answer)
    assert.equal('W/"v1"', answer.headers.etag)
    assert.equal("", ask({ ["Content-Encoding"] = "gzip" }, "").body)
  end)

  it("is passed as it is when nobody asked, in other codings, and in parts", function()
    start({ decode = false, body_filter = "" })
    local coded = gzip("text")
    assert.equal(coded, ask({ ["Content-Encoding"] = "gzip" }, coded).body)
    start({ body_filter = "" })
    for _, coding in ipairs { "compress", "gzip, gzip", "identity" } do
      local answer = ask({ ["Content-Encoding"] = coding, ETag = '"v1"' }, coded)
      assert.equal(coded, answer.body)
      assert.equal(coding, answer.headers["content-encoding"])
      assert.equal('"v1"', answer.headers.etag)
    end
    local range = { ["Content-Encoding"] = "gzip", ["Content-Range"] = "bytes 0-3/90" }
    local part = ask(range, coded:sub(1, 4), 206)
    assert.equal(coded:sub(1, 4), part.body)
    assert.equal("plain", ask({}, "plain").body)
  end)

  it("waits for filters that wait, and for heads that wait", function()
    start({ header_filter = 'ctx:sleep "5ms"',
            body_filter = 'ctx:sleep "1ms" ctx.state.n = (ctx.state.n or 0) + #chunk '
              .. 'return eof and tostring(ctx.state.n) or ""' })
    local text = {}
    for i = 1, 20000 do
      text[i] = i .. " "
    end
    text = table.concat(text)
    assert.equal(tostring(#text), ask({ ["Content-Encoding"] = "gzip" }, gzip(text)).body)
  end)

  it("is one piece for a plugin that buffers", function()
    start({ header_filter = 'ctx.resp:buffer { max = "64KiB" }',
            body_filter = 'return #chunk .. " " .. tostring(eof)' })
    local text = ("some words and more of them. "):rep(2000)
    assert.equal(#text .. " true", ask({ ["Content-Encoding"] = "gzip" }, gzip(text)).body)
  end)

  it("gives way to the answer of a header filter", function()
    start({ header_filter = 'ctx:exit(200, "mine")' })
    assert.equal("MINE", ask({ ["Content-Encoding"] = "gzip" }, gzip("text")).body)
  end)

  it("is 502 when it is not what it says, and broken off when that shows later", function()
    start()
    local answer = ask({ ["Content-Encoding"] = "gzip" }, "<html></html>")
    assert.status(502, answer)
    assert.contains("UPSTREAM_BAD_ENCODING", answer.body)
    answer = ask({ ["Content-Encoding"] = "gzip" }, gzip("text"):sub(1, 10))
    assert.status(502, answer)
    local text = ("some words and more of them. "):rep(4000)
    local c, conn = p:exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:reply({ headers = { ["Content-Encoding"] = "gzip" }, body = gzip(text):sub(1, -9) .. "damaged!" })
    assert.status(200, c:response_head())
    local rest = c:receive_rest()
    assert.is_nil(rest:find("\r\n0\r\n\r\n", 1, true))
    p.gateway:wait_for_log("is not what its Content-Encoding says")
  end)

  it("is cut off beyond the ratio and beyond the size that the operator set", function()
    start({ body_filter = "return nil" })
    local zeroes = ("\0"):rep(4 * 1024 * 1024)
    local function cut_off(log)
      local c, conn = p:exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:reply({ headers = { ["Content-Encoding"] = "gzip" }, body = gzip(zeroes) })
      assert.status(200, c:response_head())
      local rest = c:receive_rest()
      assert.is_true(#rest < 2 * 1024 * 1024)
      p.gateway:wait_for_log(log)
    end
    cut_off("limits.response.decode_ratio")
    start({ body_filter = "return nil", limits = 'response = { decode_ratio = 2000, decoded = "1MiB" }' })
    cut_off("limits.response.decoded")
    start({ body_filter = "return nil", limits = "response = { decode_ratio = 2000 }" })
    assert.is_true(ask({ ["Content-Encoding"] = "gzip" }, gzip(zeroes)).body == zeroes)
  end)

  it("unfolds no faster than the client takes it", function()
    local MIB = 1024 * 1024
    start({ body_filter = "return nil", limits = "response = { decode_ratio = 2000 }" })
    local coded = gzip(("\0"):rep(32 * MIB))
    local c, conn = p:exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    local before = p:own_memory()
    conn:reply({ headers = { ["Content-Encoding"] = "gzip" }, body = coded })
    assert.status(200, c:response_head())
    assert.equal("ok", ask({}, "ok").body)
    if (os.getenv("TIDEGATE_BUILD") or "release") == "release" then
      assert.is_true(p:own_memory() - before < 8 * MIB)
    end
    local n = 0
    local size = tonumber(c:receive_until("\r\n"), 16)
    while size > 0 do
      n = n + #c:receive(size)
      c:receive(2)
      size = tonumber(c:receive_until("\r\n"), 16)
    end
    assert.equal(32 * MIB, n)
  end)
end)
