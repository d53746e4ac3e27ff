--- Assertions that hold of nothing: each fails where what it speaks of never came, or was never said.

local t = require "tidegate.test"
local http = require "tidegate.test.http"

local function plugin(access)
  return t.plugin(t.source(([[
return { name = "probe", version = "1", api = 1, stage = "guard",
  access = function(_, ctx) %s end }]]):format(access)))
end

describe("an assertion", function()
  before_each(function() t.reset() end)

  local function fails(text, fn) assert.error_matches(fn, text, 1, true) end

  it("says nothing of an origin that was not asked", function()
    local r = plugin("ctx:exit(401)"):run()
    fails("the origin was not asked", function()
      assert.request(r.upstream).has.no.header "authorization"
    end)
    assert.request(plugin(""):run().upstream).has.no.header "authorization"
  end)

  it("says nothing of an answer that has not come", function()
    local p = plugin 'ctx:sleep "1s"'
    t.clock:freeze()
    local r = p:run()
    fails("there is no answer", function() assert.response(r).has.no.header "x-debug" end)
    fails("the request is not over", function() assert.memory(r).peak_below "1MiB" end)
    fails("the request is not over", function() assert.cpu(r).below "1s" end)
    fails("the request is not over", function() assert.metric(r, "any").equals(0) end)
    t.clock:advance "1s"
    assert.response(r).has.no.header "x-debug"
    assert.memory(r).peak_below "1MiB"
  end)

  it("is told when the value that it shall find is nil", function()
    local r = plugin(""):run { upstream = { 200, headers = { ["x-id"] = "7" } } }
    local expected = {}
    fails("the value that header x-id should have is nil", function()
      assert.response(r).has.header("x-id", expected.id)
    end)
    fails("the value that header x-id should have is nil", function()
      assert.response(r).has.no.header("x-id", expected.id)
    end)
    assert.response(r).has.header "x-id"
  end)

  it("looks at all items of a list, and at named fields of an object", function()
    local r = plugin('ctx:exit(200, { list = { 1, 2, 3 }, more = true })'):run()
    assert.response(r).has.json { list = { 1, 2, 3 } }
    assert.response(r).has.no.json { list = { 1, 2 } }
  end)
end)

describe("the client of a spec", function()
  local function read(bytes)
    local reader = http.reader "response"
    reader:feed(bytes)
    return reader:next(), reader
  end

  for _, case in ipairs {
    { "a line that ends in LF", "HTTP/1.1 200 OK\r\nx-a: 1\nx-b: 2\r\n\r\n", "not a header line" },
    { "a CR in a value", "HTTP/1.1 200 OK\r\nx-a: 1\r2\r\n\r\n", "not a header line" },
    { "a first line that ends in LF", "HTTP/1.1 200 OK\nx-a: 1\r\n\r\n", "not a first line" },
    { "two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
      "not a Content-Length" },
    { "a length beside chunks", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      "Transfer-Encoding and Content-Length" },
  } do
    it("refuses " .. case[1], function()
      assert.error_matches(function() read(case[2]) end, case[3], 1, true)
    end)
  end

  it("sees what comes behind an answer", function()
    local message, reader = read "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy"
    assert.equal("x", message.body)
    assert.equal("y", reader:surplus())
    assert.is_nil(select(2, read "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"):surplus())
  end)
end)
