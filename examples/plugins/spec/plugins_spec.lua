--- The specs of the four plugins: what each does, and what it does when something fails.

local t = require "tidegate.test"

-- Run from the top of the repository or from this example's folder.
local here = debug.getinfo(1, "S").source:match "^@(.-)spec/[^/]*$"

describe("key-lookup", function()
  local p, keys

  before_each(function()
    t.reset()
    keys = t.mock_service("keys", { 200, body = '{"name":"bob"}' })
    p = t.plugin(here .. "plugins/key-lookup.lua", { service = "keys" })
  end)

  local function ask() return p:run { headers = { ["x-api-key"] = "k1" } } end

  it("tells the origin who calls, and not the key", function()
    local r = ask()
    assert.request(r.upstream).has.header("x-caller", "bob")
    assert.request(r.upstream).has.no.header "x-api-key"
  end)

  it("believes an answer for a minute", function()
    ask()
    ask()
    assert.equal(1, #keys.calls)
    t.clock:advance "61s"
    ask()
    assert.equal(2, #keys.calls)
  end)

  it("asks once for requests that come at the same time", function()
    keys:handle(t.slow("100ms", { 200, body = '{"name":"bob"}' }))
    t.clock:freeze()
    local results = {}
    for i = 1, 5 do results[i] = ask() end
    t.clock:advance "200ms"
    for _, r in ipairs(results) do assert.response(r).has.status(200) end
    assert.equal(1, #keys.calls)
  end)

  it("refuses what nobody has, and remembers it", function()
    keys:handle { 404 }
    for _ = 1, 2 do assert.response(ask()).has.status(401) end
    assert.equal(1, #keys.calls)
    assert.response(p:run()).has.json { error = "missing key" }
  end)

  it("lets nobody in while it cannot ask", function()
    local failures = { t.hang(), t.refuse(), { 500 }, { 200, body = "{}" }, { 200, body = "no JSON" } }
    for _, failure in ipairs(failures) do
      keys:handle(failure)
      local r = ask()
      assert.response(r).has.status(503)
      assert.elapsed(r).at_most "600ms"
      assert.logged(r, "warn", "the key service does not answer")
    end
  end)
end)

describe("json-mask", function()
  local p

  before_each(function()
    t.reset()
    p = t.plugin(here .. "plugins/json-mask.lua", { fields = { "password" }, max = "1KiB" })
  end)

  local function answer(response)
    response.headers = response.headers or { ["content-type"] = "application/json", etag = '"v1"' }
    return p:run { upstream = response }
  end

  it("hides a field wherever it stands, and leaves the rest", function()
    local r = answer { 200, body = '{"users":[{"password":"x","roles":[]}],"password":null}' }
    assert.response(r).has.json { users = { { password = "***" } }, password = "***" }
    assert.matches('"roles":[]', r.body, 1, true)
    assert.response(r).has.no.header "etag"
  end)

  it("sees an answer whole that comes in pieces", function()
    assert.response(answer { 200, chunks = { '{"pass', 'word":"x"}' } }).has.body '{"password":"***"}'
  end)

  it("leaves other answers alone", function()
    local r = answer { 200, body = '{"password":"x"}', headers = { ["content-type"] = "text/plain" } }
    assert.response(r).has.body '{"password":"x"}'
    assert.response(answer { 204 }).has.status(204)
  end)

  it("lets nothing pass that it has not seen", function()
    assert.response(answer { 200, body = '"' .. ("x"):rep(2000) .. '"' }).has.status(502)
    local r = answer { 200, body = '{"password":"x"' }
    assert.is_false(r.complete)
    assert.logged(r, "warn", "an answer is no JSON")
  end)
end)

describe("webhook", function()
  local p

  before_each(function()
    t.reset()
    p = t.plugin(here .. "plugins/webhook.lua", { secret = t.secret "s3cret", max = "1KiB" })
  end)

  local function post(body, signed)
    local signature = t.hex(t.hmac("sha256", "s3cret", signed or body))
    local headers = { ["x-hub-signature-256"] = "sha256=" .. signature }
    return p:run { method = "POST", body = body, headers = headers }
  end

  it("lets in what is signed, as it came", function()
    local r = post '{ "event" : "push" }'
    assert.response(r).has.status(200)
    assert.request(r.upstream).has.body '{ "event" : "push" }'
  end)

  it("refuses another body, another form, and none", function()
    assert.response(post("a", "b")).has.json { error = "bad signature" }
    for _, value in ipairs { "sha1=00", "sha256=xyz", "sha256=0" } do
      local r = p:run { method = "POST", body = "a", headers = { ["x-hub-signature-256"] = value } }
      assert.response(r).has.status(401)
      assert.is_false(r.upstream.called)
    end
    assert.response(p:run()).has.status(401)
  end)

  it("reads no more than it may", function()
    assert.response(post(("x"):rep(1025))).has.status(413)
  end)
end)

describe("audit", function()
  local p, audit

  before_each(function()
    t.reset()
    audit = t.mock_service("audit", { 202 })
    p = t.plugin(here .. "plugins/audit.lua", { service = "audit", batch = 3 })
  end)

  it("sends a batch when it is full, and the rest a while later", function()
    for i = 1, 4 do p:run { path = "/" .. i, client = { ip = "10.1.2.3" } } end
    t.clock:advance "10ms"
    assert.equal(1, #audit.calls)
    t.clock:advance "2s"
    assert.equal(2, #audit.calls)
    assert.request(audit.calls[2]).has.json { { path = "/4", status = 200, caller = "10.1.2.3" } }
    assert.metric(p, "sent").equals(4)
  end)

  it("tries again, and says why", function()
    audit:handle(t.sequence { { 503 }, { 202 } })
    p:run()
    t.clock:advance "5s"
    assert.equal(2, #audit.calls)
    assert.metric(p, "sent").equals(1)
    assert.logged(p, "warn", "reason=the service answered 503")
  end)
end)
