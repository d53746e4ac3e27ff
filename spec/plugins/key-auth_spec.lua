-- key-auth: where keys are looked for, what the origin is told and not told, who is refused and how.

local cjson = require("cjson")
local bundled = require("support.bundled")
local client = require("support.client")
local gateway = require("support.gateway")

local ENV = { ACME_OLD = "acme-old-key", ACME_NEW = "acme-new-key", BOB = "bob key/+&=;" }

describe("key-auth", function()
  local g

  setup(function()
    g = gateway.start({
      env = ENV,
      config = [[
        local tg = require "tidegate"
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.consumer "acme" { id = "c-1", custom_id = "4711", groups = { "gold", "eu" },
                             credentials = { key = { tg.secret "env:ACME_OLD", tg.secret "env:ACME_NEW" } } }
        tg.consumer "bob" { credentials = { key = tg.secret "env:BOB", subject = "bob-subject" } }
        tg.consumer "guest" {}
        local function route(name, conf)
          tg.route(name) { paths = { "/" .. name .. "/*" }, service = "echo",
                           plugins = { tg.use "key-auth"(conf) } }
        end
        route("plain", {})
        route("three", { header = "x-key", query = "key", cookie = "key" })
        route("query", { query = "key" })
        route("bearer", { header = "authorization", scheme = "Bearer", realm = "orders" })
        route("open", { anonymous = "guest",
                        identity = { "name", "id", "custom_id", "groups", "credential" } })
        route("shown", { hide = false, query = "key", header = "x-key", identity = {} })
        tg.route "twice" { paths = { "/twice/*" }, service = "echo", plugins = {
          tg.use("key-auth", { id = "first" }) { header = "x-first", anonymous = "guest" },
          tg.use("key-auth", { id = "second" }) { header = "x-second", anonymous = "guest" } } }
      ]],
    })
  end)

  teardown(function()
    for _, key in pairs(ENV) do assert.is_nil((g:stderr() .. g:stdout()):find(key, 1, true)) end
    g:stop()
  end)

  -- The response, and what the origin saw: headers by lower-case name, and target.
  local function get(path, headers)
    local r = client.get(g.port, path, headers)
    if r.status ~= 200 then return r end
    local seen, origin = cjson.decode(r.body), {}
    for _, header in ipairs(seen.headers) do origin[header[1]:lower()] = header[2] end
    return r, origin, seen.target
  end

  it("recognises a consumer by each of its keys, and tells the origin who it is", function()
    for _, key in ipairs { ENV.ACME_OLD, ENV.ACME_NEW } do
      local r, origin = get("/plain/x", { ["X-Api-Key"] = key })
      assert.status(200, r)
      assert.equal("acme", origin["x-consumer-name"])
      assert.equal("4711", origin["x-consumer-custom-id"])
      assert.is_nil(origin["x-consumer-id"])
      assert.is_nil(origin["x-api-key"])
    end
    local _, origin = get("/plain/x", { ["X-Api-Key"] = ENV.BOB })
    assert.equal("bob", origin["x-consumer-name"])
    assert.is_nil(origin["x-consumer-custom-id"])
  end)

  it("tells more where it is asked to", function()
    local _, origin = get("/open/x", { ["X-Api-Key"] = ENV.ACME_NEW })
    assert.same({ "acme", "c-1", "4711", "gold, eu", "key:2" },
      { origin["x-consumer-name"], origin["x-consumer-id"], origin["x-consumer-custom-id"],
        origin["x-consumer-groups"], origin["x-consumer-credential"] })
  end)

  it("refuses a request without a key, and says where one is looked for", function()
    local r = get("/three/x")
    assert.status(401, r)
    assert.header("WWW-Authenticate", 'Key realm="api"', r)
    assert.header("Content-Type", "application/problem+json", r)
    local problem = cjson.decode(r.body)
    assert.equal("key_missing", problem.code)
    assert.equal(401, problem.status)
    assert.equal(32, #problem.request_id)
    assert.equal("this needs an API key in the header x-key or the query parameter key or the cookie key",
                 problem.detail)
  end)

  it("refuses keys that nobody has, whatever they look like", function()
    local wrong = { "", "acme-old-ke", "acme-old-key2", "ACME-OLD-KEY", "acme", "bob-subject",
                    ("x"):rep(8000), "\128\255", "acme-old-key,acme-new-key" }
    for _, key in ipairs(wrong) do
      local r = get("/plain/x", { ["X-Api-Key"] = key })
      assert.status(401, r)
      assert.equal("key_unknown", cjson.decode(r.body).code)
      assert.is_nil(r.body:find("acme", 1, true))
    end
  end)

  it("looks into header, query and cookie in this order, and takes the key out of all", function()
    local r, origin, target = get("/three/x?a=1&key=" .. ENV.ACME_OLD .. "&b=%20&k%65y=again&c",
                                  { Cookie = "s=1; key=wrong; t=\"2\"" })
    assert.status(200, r)
    assert.equal("/three/x?a=1&b=%20&c", target)
    assert.equal('s=1; t="2"', origin.cookie)
    r, origin, target = get("/three/x?key=wrong", { ["X-Key"] = ENV.ACME_OLD, Cookie = "key=wrong" })
    assert.status(200, r)
    assert.equal("/three/x", target)
    assert.is_nil(origin.cookie)
    assert.is_nil(origin["x-key"])
    r = get("/three/x", { Cookie = "other=1; key=" .. ENV.ACME_OLD })
    assert.status(200, r)
    assert.status(401, get("/three/x?key=" .. ENV.ACME_OLD, { ["X-Key"] = "wrong" }))
  end)

  it("looks nowhere else", function()
    assert.status(401, get("/query/x", { ["X-Api-Key"] = ENV.ACME_OLD }))
    assert.status(401, get("/plain/x?x-api-key=" .. ENV.ACME_OLD))
    local r, _, target = get("/query/x?key=bob%20key%2F%2B%26%3D%3B&n=1")
    assert.status(200, r)
    assert.equal("/query/x?n=1", target)
  end)

  it("takes the key behind a scheme, in any case, and challenges with it", function()
    for _, value in ipairs { "Bearer ", "bearer ", "BEARER   " } do
      local r, origin = get("/bearer/x", { Authorization = value .. ENV.ACME_OLD })
      assert.status(200, r)
      assert.is_nil(origin.authorization)
    end
    for _, value in ipairs { "Basic ", "", "Bearer" } do
      local r = get("/bearer/x", { Authorization = value .. ENV.ACME_OLD })
      assert.status(401, r)
      assert.header("WWW-Authenticate", 'Bearer realm="orders"', r)
      assert.equal("key_missing", cjson.decode(r.body).code)
    end
  end)

  it("takes what the client says of itself away, also where nobody is known", function()
    local forged = { ["X-Consumer-Name"] = "root", ["X-Consumer-Id"] = "0", ["X-Consumer-Groups"] = "admin",
                     ["X-Consumer-Custom-Id"] = "1", ["X-Consumer-Credential"] = "key:9" }
    local _, origin = get("/shown/x?key=" .. ENV.ACME_OLD, forged)
    for name in pairs(forged) do assert.is_nil(origin[name:lower()]) end
    _, origin = get("/open/x", forged)
    assert.equal("guest", origin["x-consumer-name"])
    assert.is_nil(origin["x-consumer-groups"])
    assert.is_nil(origin["x-consumer-credential"])
  end)

  it("lets the origin see the key where it is not hidden", function()
    local _, _, target = get("/shown/x?key=" .. ENV.ACME_OLD)
    assert.equal("/shown/x?key=acme-old-key", target)
    local _, origin = get("/shown/x", { ["X-Key"] = ENV.ACME_OLD })
    assert.equal(ENV.ACME_OLD, origin["x-key"])
  end)

  it("makes a request without a key the anonymous consumer's, not one with a wrong key", function()
    local r, origin = get("/open/x")
    assert.status(200, r)
    assert.equal("guest", origin["x-consumer-name"])
    assert.status(401, get("/open/x", { ["X-Api-Key"] = "wrong" }))
  end)

  it("leaves who was recognised before", function()
    local _, origin = get("/twice/x", { ["X-First"] = ENV.ACME_OLD })
    assert.equal("acme", origin["x-consumer-name"])
    _, origin = get("/twice/x", { ["X-Second"] = ENV.BOB })
    assert.equal("bob", origin["x-consumer-name"])
  end)

  for what, case in pairs({
    ["a scheme without its header"] = { '{ scheme = "Bearer" }', 'needs the field "header" too' },
    ["a header that is the gateway's"] = { '{ header = "content-length" }', "header" },
    ["an unknown consumer"] = { '{ anonymous = "nobody" }', 'no consumer is called "nobody"' },
    ["an unknown field"] = { '{ headr = "x" }', 'did you mean "header"?' },
    ["a cookie that is none"] = { '{ cookie = "a b" }', "cookie" },
    ["an identity that is none"] = { '{ identity = { "names" } }', 'did you mean "name"?' },
  }) do
    it("does not load with " .. what, function()
      assert.contains(case[2], bundled.check("key-auth", case[1]))
    end)
  end
end)
