-- compress: what is compressed and what is not, what becomes of heads, streams that are not held back, large
-- bodies behind slow clients, bounds.

local bundled = require("support.bundled")
local client = require("support.client")
local coding = require("support.coding")
local http = require("support.http")
local proxy = require("support.proxy")

local CODINGS = { "gzip", "br", "zstd" }
local TEXT = ("some words, and more of them; "):rep(200)

describe("compress", function()
  local p

  local function start(conf, options)
    options = options or {}
    options.route = ('plugins = { %s tg.use "compress" { %s } }'):format(options.plugins or "", conf or "")
    p = proxy.start(options)
    local started = p
    finally(function() started:stop() end)
    return p
  end

  local function get(headers, method)
    headers.Host = "a"
    return ("%s / HTTP/1.1\r\n%s\r\n"):format(method or "GET", http.fields(headers))
  end

  -- Asks with these headers, and has the origin answer with those, on a connection of its own.
  local function ask(accept, message, more)
    local headers = more or {}
    headers["Accept-Encoding"] = accept
    local c, conn = p:exchange(get(headers))
    message.headers = message.headers or {}
    message.headers.Connection = "close"
    message.headers["Content-Type"] = message.headers["Content-Type"] or "text/html; charset=utf-8"
    message.body = message.body or TEXT
    conn:reply(message)
    return c:response()
  end

  local function is_compressed(name, r, text)
    assert.header("Content-Encoding", name, r)
    assert.no_header("Content-Length", r)
    local decoded, whole = coding.decode(name, r.body)
    assert.is_true(whole)
    assert.is_true(decoded == (text or TEXT))
  end

  local function is_plain(r, text)
    assert.no_header("Content-Encoding", r)
    assert.is_true(r.body == (text or TEXT))
  end

  it("brings answers into the coding that the client likes best", function()
    start()
    for _, name in ipairs(CODINGS) do
      local r = ask(name, {})
      assert.status(200, r)
      is_compressed(name, r)
      assert.header("Vary", "Accept-Encoding", r)
      assert.is_true(#r.body < #TEXT / 10)
    end
    is_compressed("br", ask("gzip, deflate, br, zstd", {}))
    is_compressed("zstd", ask("gzip;q=0.5, zstd;q=0.9, br;q=0", {}))
    is_compressed("gzip", ask("x-gzip", {}))
  end)

  it("is understood by curl", function()
    start()
    local c = io.popen(("curl -s --compressed http://127.0.0.1:%d/"):format(p.port))
    local conn = p.origin:accept()
    conn:request()
    conn:reply({ headers = { ["Content-Type"] = "text/plain", Connection = "close" }, body = TEXT })
    assert.equal(TEXT, c:read("*a"))
    c:close()
  end)

  it("sends what it may not or need not compress as it is", function()
    start()
    local small = { body = "small" }
    local r = ask("gzip", small)
    is_plain(r, "small")
    assert.no_header("Vary", r)
    r = ask("gzip", { headers = { ["Content-Type"] = "image/png" } })
    is_plain(r)
    assert.no_header("Vary", r)
    is_plain(ask("gzip", { headers = { ["Cache-Control"] = "public, no-transform" } }))
    is_plain(ask("gzip", {}, { ["Cache-Control"] = "no-transform" }))
    local range = ("bytes 0-%d/99999"):format(#TEXT - 1)
    r = ask("gzip", { status = 206, headers = { ["Content-Range"] = range } })
    assert.status(206, r)
    is_plain(r)
    is_plain(ask("gzip", { headers = { ["Content-Range"] = "bytes */9" } }))
    for _, accept in ipairs { "identity", "deflate", "gzip;q=0", "gzip;q=nonsense", "" } do
      r = ask(accept, {})
      is_plain(r)
      assert.header("Vary", "Accept-Encoding", r) -- another client would get another body
    end
    assert.equal("", ask("gzip", { body = "" }).body)
  end)

  it("never compresses twice", function()
    start()
    local coded = coding.encode("gzip", TEXT)
    local r = ask("br, gzip", { headers = { ["Content-Encoding"] = "gzip", ETag = '"v1"' }, body = coded })
    assert.header("Content-Encoding", "gzip", r)
    assert.header("ETag", '"v1"', r)
    assert.is_true(r.body == coded)
    is_compressed("br", ask("br", { headers = { ["Content-Encoding"] = "identity" } }))
    p:stop()
    start("", { plugins = 'tg.use("compress", { id = "other" }) { codings = { "gzip" } },' })
    is_compressed("gzip", ask("br, gzip", {})) -- of two the one that comes last in the response's order
  end)

  it("compresses whatever there is for a client that refuses plain bodies", function()
    start()
    is_compressed("gzip", ask("gzip, identity;q=0", { body = "small" }), "small")
    is_compressed("gzip", ask("gzip, *;q=0", { headers = { ["Content-Type"] = "image/png" } }))
    is_plain(ask("identity;q=0", {})) -- nothing that it takes: better this than nothing
  end)

  it("names what its answer varies by, once", function()
    start()
    local function vary(value)
      return ask("gzip", { headers = { Vary = value } }).headers.vary
    end
    assert.equal("Origin, Accept-Encoding", vary("Origin"))
    assert.equal("accept-encoding", vary("accept-encoding"))
    assert.equal("Origin, Accept-Encoding, X", vary("Origin, Accept-Encoding, X"))
    assert.equal("*", vary("*"))
  end)

  it("takes from the head what speaks of other bytes", function()
    start()
    local r = ask("gzip", { headers = {
      ETag = '"v1"', ["Accept-Ranges"] = "bytes", ["Content-MD5"] = "x", Digest = "x",
      ["Content-Digest"] = "x", ["Repr-Digest"] = "x", ["X-Other"] = "kept",
    } })
    is_compressed("gzip", r)
    assert.header("ETag", 'W/"v1"', r)
    for _, name in ipairs { "Accept-Ranges", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest" } do
      assert.no_header(name, r)
    end
    assert.header("X-Other", "kept", r)
    assert.header("ETag", 'W/"v1"', ask("gzip", { headers = { ETag = 'W/"v1"' } }))
  end)

  it("says to HEAD what it says to GET, and keeps a 304 and a 204 without a body", function()
    start()
    local c, conn = p:exchange(get({ ["Accept-Encoding"] = "gzip" }, "HEAD"))
    conn:send('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: 6000\r\n'
      .. 'ETag: "v1"\r\n\r\n')
    local r = c:response({ method = "HEAD" })
    assert.header("Content-Encoding", "gzip", r)
    assert.header("Vary", "Accept-Encoding", r)
    assert.header("ETag", 'W/"v1"', r)
    assert.no_header("Content-Length", r)
    assert.equal("", r.body)
    c, conn = p:exchange(get({ ["Accept-Encoding"] = "gzip" }))
    conn:send('HTTP/1.1 304 Not Modified\r\nConnection: close\r\nETag: "v1"\r\n\r\n')
    r = c:response()
    assert.status(304, r)
    assert.header("ETag", 'W/"v1"', r)
    assert.header("Vary", "Accept-Encoding", r)
    assert.no_header("Content-Encoding", r)
    c, conn = p:exchange(get({ ["Accept-Encoding"] = "gzip" }))
    conn:send("HTTP/1.1 204 No Content\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n")
    r = c:response()
    assert.status(204, r)
    assert.no_header("Content-Encoding", r)
  end)

  it("leaves upgraded connections alone", function()
    start()
    local c, conn = p:exchange(get({
      ["Accept-Encoding"] = "gzip", Connection = "upgrade", Upgrade = "x", ["Content-Type"] = "text/plain" }))
    conn:send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n"
      .. "Content-Type: text/plain\r\n\r\n")
    assert.no_header("Content-Encoding", c:response())
    conn:send(TEXT)
    assert.equal(TEXT, c:receive(#TEXT))
    c:close()
    conn:close()
  end)

  it("holds no event back, in whatever coding", function()
    start()
    for _, name in ipairs(CODINGS) do
      local c, conn = p:exchange(get({ ["Accept-Encoding"] = name }))
      conn:send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
      assert.equal(name, c:response_head().headers["content-encoding"])
      local sent, coded = "", ""
      for i = 1, 5 do
        conn:send(http.chunk(("data: %d\n\n"):format(i)))
        sent = sent .. ("data: %d\n\n"):format(i)
        local size = tonumber(c:receive_until("\r\n"), 16)
        coded = coded .. c:receive(size)
        c:receive(2)
        local text, whole = coding.decode(name, coded)
        assert.equal(sent, text)
        assert.is_false(whole)
      end
      conn:send("0\r\n\r\n")
      local rest = c:receive_until("0\r\n\r\n")
      coded = coded .. rest:match("^%x+\r\n(.*)\r\n0\r\n\r\n$")
      local text, whole = coding.decode(name, coded)
      assert.equal(sent, text)
      assert.is_true(whole)
      c:close()
      conn:close()
    end
  end)

  it("puts together what came in any pieces, and passes trailers but for digests", function()
    start('min_size = "1B"')
    for _, name in ipairs(CODINGS) do
      local c, conn = p:exchange(get({ ["Accept-Encoding"] = name, Connection = "TE", TE = "trailers" }))
      conn:send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
      local text = TEXT:sub(1, 300)
      for at = 1, #text do
        conn:send(http.chunk(text:sub(at, at)))
      end
      conn:send("0\r\nRepr-Digest: sha-256=:AA==:\r\nX-Kept: yes\r\n\r\n")
      local r = c:response()
      is_compressed(name, r, text)
      assert.equal("yes", r.trailers["x-kept"])
      assert.is_nil(r.trailers["repr-digest"])
      c:close()
      conn:close()
    end
  end)

  it("ends unfinished where the origin's answer does", function()
    start()
    for _, name in ipairs(CODINGS) do
      local c, conn = p:exchange(get({ ["Accept-Encoding"] = name }))
      conn:send(("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"):format(#TEXT))
      conn:send(TEXT:sub(1, 3000))
      c:response_head()
      conn:close()
      assert.is_nil(c:receive_rest():find("\r\n0\r\n\r\n", 1, true))
    end
  end)

  it("compresses behind body filters, and answers of plugins and of the gateway too", function()
    start('types = { "text/*", "+json" }, min_size = "1B"', {
      files = { ["upper.lua"] = [[
        local P = { name = "upper", version = "1.0.0", api = 1, stage = "edge",
                    needs = { body = "response", decode = true } }
        function P.body_filter(_, _, chunk) return chunk:upper() end
        return P
      ]] },
      plugins = 'tg.use "./upper.lua" {},',
      more = [[
        tg.route "mine" { paths = { "/mine" }, plugins = {
          tg.use "respond" { body = ("mine "):rep(100000) }, tg.use "compress" {} } }
      ]],
    })
    is_compressed("br", ask("br", {}), TEXT:upper())
    for _, name in ipairs(CODINGS) do -- decoded for the filter, then in another coding
      local coded = { headers = { ["Content-Encoding"] = name }, body = coding.encode(name, TEXT) }
      is_compressed("gzip", ask("gzip", coded), TEXT:upper())
    end
    local mine = client.get(p.port, "/mine", { ["Accept-Encoding"] = "gzip" })
    is_compressed("gzip", mine, ("mine "):rep(100000))
    p.origin:close()
    local r = client.get(p.port, "/", { ["Accept-Encoding"] = "gzip" })
    assert.status(502, r)
    assert.contains('"CODE":"UPSTREAM_UNREACHABLE"', (coding.decode("gzip", r.body)))
  end)

  it("keeps what a slow client does not take with the origin", function()
    start("levels = { gzip = 1 }")
    local MIB = 1024 * 1024
    local block = {}
    math.randomseed(7)
    for i = 1, 65536 do block[i] = string.char(math.random(0, 255)) end
    block = table.concat(block)
    local c, conn = p:exchange(get({ ["Accept-Encoding"] = "gzip" }))
    local before = p:own_memory()
    conn:send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n")
    local sent = conn:offer(block, 64 * MIB, 0.5)
    assert.is_true(sent < 48 * MIB)
    assert.status(200, ask("gzip", {}))
    if (os.getenv("TIDEGATE_BUILD") or "release") == "release" then
      assert.is_true(p:own_memory() - before < 8 * MIB)
    end
    c:close()
    conn:close()
  end)

  it("closes an answer to HTTP/1.0 by its end", function()
    start()
    local c, conn = p:exchange("GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
    conn:reply({ headers = { ["Content-Type"] = "text/plain", Connection = "close" }, body = TEXT })
    local head, body = c:receive_rest():match("^(.-)\r\n\r\n(.*)$")
    assert.contains("Content-Encoding: gzip", head)
    assert.is_nil(head:lower():find("transfer-encoding", 1, true))
    assert.equal(TEXT, (coding.decode("gzip", body)))
  end)

  it("sends answers as they are while as many as may be are being compressed, and counts them", function()
    start("", { limits = "response = { encoders = 1 }",
                settings = 'admin = { listen = "unix:admin.sock" },' })
    local c, conn = p:exchange(get({ ["Accept-Encoding"] = "gzip" }))
    conn:send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: 1\n\n")
    assert.equal("gzip", c:response_head().headers["content-encoding"])
    local r = ask("gzip", {})
    is_plain(r)
    assert.header("Vary", "Accept-Encoding", r)
    conn:close()
    c:receive_until("0\r\n\r\n")
    is_compressed("gzip", ask("gzip", {}))
    local metrics = client.get({ unix = p.gateway.dir .. "/admin.sock" }, "/metrics").body
    assert.contains('tidegate_compressed_answers_total{coding="gzip"} 2', metrics)
    assert.contains('tidegate_compression_skipped_total{reason="full"} 1', metrics)
    assert.contains('tidegate_compression_bytes_total{direction="in"} 6009', metrics)
  end)

  it("refuses settings that mean nothing", function()
    assert.contains("no content type", bundled.check("compress", '{ types = { "html" } }'))
    assert.contains("codings", bundled.check("compress", '{ codings = { "deflate" } }'))
    assert.contains("codings", bundled.check("compress", '{ codings = {} }'))
    assert.contains("levels.br", bundled.check("compress", '{ levels = { br = 11 } }'))
    assert.equal("", bundled.check("compress", '{ types = { "*/*" }, levels = { br = 8 } }'))
  end)
end)
