--- Recording what specs do, and doing it again.

local t = require "tidegate.test"

local har = require "tidegate.test.har"

local STAMP = t.source [[
return { name = "stamp", version = "1", api = 1, stage = "guard",
  header_filter = function(conf, ctx) ctx.resp:set_header("x-stamp", ctx.req.method) end }]]

describe("an HTTP archive", function()
  local path, recorder

  before_each(function()
    t.reset()
    path = os.tmpname()
    recorder = har.recorder()
  end)

  after_each(function() os.remove(path) end)

  it("holds requests and answers, and replays on a plugin", function()
    local p = t.plugin(STAMP)
    local one = { method = "POST", path = "/a?b=c", headers = { ["x-a"] = "1" }, body = "sent",
                  upstream = { 201, body = "made", headers = { ["content-type"] = "text/plain" } } }
    recorder:add(t.clock:now(), one, p:run(one))
    local two = { path = "/bytes", upstream = { 200, body = "\0\255" } }
    recorder:add(t.clock:now(), two, p:run(two))
    assert.is_true(recorder:write(path))

    local entries = t.replay(path, p)
    assert.equal(2, #entries)
    assert.equal("POST", entries[1].request.method)
    assert.equal("/a?b=c", entries[1].request.path)
    for _, entry in ipairs(entries) do
      assert.response(entry.result).has.status(entry.expected.status)
      assert.response(entry.result).has.body(entry.expected.body)
      assert.response(entry.result).has.header("x-stamp", entry.expected.headers["x-stamp"])
    end
    assert.equal("\0\255", entries[2].result.body)
    assert.equal("sent", entries[1].result.upstream.body)
  end)

  it("says again which host was asked, and what bodies are coded by", function()
    local p = t.plugin(STAMP)
    local one = { method = "POST", path = "/", headers = { host = "api.test", ["content-encoding"] = "gzip" },
                  body = "\31\139", version = "1.0",
                  upstream = t.chunks { "a", "b", headers = { ["content-encoding"] = "x-own" } } }
    recorder:add(t.clock:now(), one, p:run(one))
    assert.is_true(recorder:write(path))
    local entry = t.replay(path, p)[1]
    assert.same({ "api.test", "1.0" }, { entry.request.host, entry.request.version })
    assert.request(entry.result.upstream).has.header("content-encoding", "gzip")
    assert.request(entry.result.upstream).has.body("\31\139")
    assert.response(entry.result).has.header("content-encoding", "x-own")
    assert.response(entry.result).has.body "ab"
  end)

  -- An archive with one POST, whose body is `data` (JSON).
  local function write_post(data)
    local file = assert(io.open(path, "w"))
    file:write(('{"log":{"entries":[{"request":{"method":"POST","url":"http://a.test/","headers":[],' ..
                '"postData":%s},"response":{"status":200,"headers":[],"content":{}}}]}}'):format(data))
    file:close()
  end

  it("sends a form that is there by names and values", function()
    write_post('{"mimeType":"application/x-www-form-urlencoded",' ..
               '"params":[{"name":"a b","value":"1&2"},{"name":"c"}]}')
    assert.equal("a%20b=1%262&c=", t.replay(path, t.plugin(STAMP))[1].result.upstream.body)
    write_post '{"mimeType":"multipart/form-data","params":[{"name":"a","value":"1"}]}'
    assert.error_matches(function() t.replay(path, t.plugin(STAMP)) end,
                         "entry 1: a body of the type multipart/form%-data is there in parts only")
  end)

  it("is JSON that other programs read", function()
    local p = t.plugin(STAMP)
    recorder:add(t.clock:now(), {}, p:run())
    assert.is_true(recorder:write(path))
    local file = assert(io.open(path))
    local text = file:read "*a"
    file:close()
    assert.matches('"startedDateTime":"2024%-01%-01T00:00:00.000Z"', text)
    assert.matches('"queryString":%[%]', text)
    assert.matches('"version":"1.2"', text)
  end)

  it("says what is wrong with it", function()
    local p = t.plugin(STAMP)
    assert.error_matches(function() t.replay("no/such.har", p) end, "cannot read no/such.har")
    local file = assert(io.open(path, "w"))
    file:write '{"log":{"entries":[{"request":{"url":"nowhere"},"response":{}}]}}'
    file:close()
    assert.error_matches(function() t.replay(path, p) end, 'entry 1: "nowhere" is not an address')
  end)
end)
