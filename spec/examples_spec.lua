-- The examples do what they say: each is served as it stands, on a free port, and every `curl` line
-- in its opening comment (which `make run` prints) is given to a shell and answered as expected.

local gateway = require("support.gateway")

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- Runs a line in a shell. Returns status code, head and body of what curl -i printed.
local function curl(line)
  local pipe = io.popen(line:gsub("^curl ", "curl -sS --max-time 10 ") .. " 2>&1")
  local output = pipe:read("*a")
  pipe:close()
  local status, head, body = output:match("^HTTP/1%.1 (%d+) (.-)\r\n\r\n(.*)$")
  assert(status, "no answer: " .. output)
  return tonumber(status), head:lower(), body
end

describe("examples/hello", function()
  local CONFIG = "examples/hello/gateway.lua"
  local ADDRESS = "127.0.0.1:8080"
  -- What the path in a line must be answered with, as plain pieces of head and body.
  local EXPECTED = {
    ["/"] = { head = "x-request-id: ", body = { '"message":"Tidegate is running"' } },
    ["/hello/tide"] = { head = "x-request-id: ", body = { '"greeting":"Hello, tide!"' } },
    ["/echo/some/path?x=1"] = {
      head = "x-served-by: tidegate",
      body = { '"target":"/some/path?x=1"', '["x-greeting","hello"]', '"body":"a body"' },
    },
  }
  local g

  setup(function()
    g = gateway.start({
      file = CONFIG,
      files = { ["plugins/hello.lua"] = read("examples/hello/plugins/hello.lua") },
      edit = function(text)
        return (text:gsub(ADDRESS, "127.0.0.1:@PORT@"))
      end,
    })
  end)

  teardown(function()
    g:stop()
  end)

  local lines = 0
  for line in read(CONFIG):gmatch("%f[^\n]%-%- *(curl [^\n]+)") do
    lines = lines + 1
    it("answers " .. line, function()
      local path = line:match(ADDRESS:gsub("%p", "%%%0") .. "([^\"'%s]*)")
      local expected = assert(EXPECTED[path], "say in EXPECTED what this line is answered with")
      local status, head, body = curl((line:gsub(ADDRESS:gsub("%p", "%%%0"), "127.0.0.1:" .. g.port)))
      assert.equal(200, status)
      assert.contains(expected.head, head)
      for _, piece in ipairs(expected.body) do
        assert.contains(piece, body)
      end
    end)
  end

  it("has a line for each route", function()
    local routes = select(2, read(CONFIG):gsub("\ntg%.route", ""))
    assert.equal(routes, lines)
  end)

  it("answers a wrong name with a hint", function()
    local status, _, body = curl("curl -i http://127.0.0.1:" .. g.port .. "/hello/a%20b")
    assert.equal(404, status)
    assert.contains("write /hello/NAME", body)
  end)
end)

describe("examples/routing", function()
  local ADDRESS = "127.0.0.1:8080"
  local text = read("examples/routing/gateway.lua")
  local g

  setup(function()
    g = gateway.start({ config = text:gsub(ADDRESS, "127.0.0.1:@PORT@") })
  end)

  teardown(function()
    g:stop()
  end)

  local asked = {}
  for line, answer in text:gmatch("\n%-%- (curl [^\n]-)   +([^\n]+)") do
    asked[answer:match("^%S+")] = true
    it(("is answered by %s: %s"):format(answer, line), function()
      local address = ADDRESS:gsub("%p", "%%%0")
      local _, _, body = curl((line:gsub("^curl", "curl -i"):gsub(address, "127.0.0.1:" .. g.port)))
      assert.equal(answer .. "\n", body)
    end)
  end

  it("asks each of its routes", function()
    for name in text:gmatch('\ntg%.route "([^"]+)"') do
      assert.is_true(asked[name], name)
    end
  end)
end)

describe("examples/consumers", function()
  local CONFIG = "examples/consumers/gateway.lua"
  local ADDRESS = "127%.0%.0%.1:8080"
  -- In the order of the lines: status, and what is in head and body.
  local EXPECTED = {
    { 401, head = "www-authenticate: key", body = { '"code":"key_missing"' } },
    { 200, head = "x-tier: gold",
      body = { '["x-consumer-name","acme"]', '["x-consumer-custom-id","4711"]' } },
    { 200, head = "x-request-id: ",
      body = { '"target":"/orders/7?page=2"', '["x-consumer-name","corner-shop"]' } },
    { 200, head = "x-tier: gold", body = { '["x-consumer-name","acme"]' } },
    { 403, head = "problem+json", body = { '"code":"not_in_group"' } },
    { 200, head = "x-request-id: ", body = { '["x-consumer-name","guest"]' } },
  }
  local g

  setup(function()
    g = gateway.start({
      file = CONFIG,
      files = { ["keys.env"] = read("examples/consumers/keys.env") },
      edit = function(text)
        return (text:gsub(ADDRESS, "127.0.0.1:@PORT@"))
      end,
    })
  end)

  teardown(function()
    g:stop()
  end)

  local nth = 0
  for line in read(CONFIG):gmatch("%f[^\n]%-%- *(curl [^\n]+)") do
    nth = nth + 1
    local expected = EXPECTED[nth]
    it("answers " .. line, function()
      local status, head, body = curl((line:gsub(ADDRESS, "127.0.0.1:" .. g.port)))
      assert.equal(expected[1], status)
      assert.contains(expected.head, head)
      for _, piece in ipairs(expected.body) do
        assert.contains(piece, body)
      end
      assert.is_nil(body:find("api_key=", 1, true))
    end)
  end

  it("has a line for each that is expected", function()
    assert.equal(#EXPECTED, nth)
  end)
end)

-- An example whose opening comment has lines such as `curl URL   200`: what is said behind a line stands
-- in the answer to it.
local function serves(name, count, files)
  describe("examples/" .. name, function()
    local ADDRESS = "127.0.0.1:8080"
    local text = read("examples/" .. name .. "/gateway.lua")
    local g

    setup(function()
      g = gateway.start({ config = text:gsub(ADDRESS, "127.0.0.1:@PORT@"), files = files })
    end)

    teardown(function()
      g:stop()
    end)

    local lines = 0
    for line, answer in text:gmatch("\n%-%- (curl [^\n]-)   +([^\n]+)") do
      lines = lines + 1
      it(("answers with %s: %s"):format(answer, line), function()
        local address = ADDRESS:gsub("%p", "%%%0")
        local _, head, body = curl((line:gsub("^curl", "curl -i"):gsub(address, "127.0.0.1:" .. g.port)))
        assert.contains(answer, head .. body)
      end)
    end

    it("has its lines", function()
      assert.equal(count, lines)
    end)
  end)
end

serves("recipes", 10, { ["maintenance.html"] = read("examples/recipes/maintenance.html") })
serves("traffic", 8)

local plugins = {}
for _, name in ipairs({ "plugins/key-lookup.lua", "plugins/json-mask.lua", "plugins/webhook.lua",
                        "plugins/audit.lua", "webhook.key" }) do
  plugins[name] = read("examples/plugins/" .. name)
end
serves("plugins", 6, plugins)

describe("examples/service", function()
  local g

  setup(function()
    g = gateway.start({
      config = read("examples/service/gateway.lua"):gsub("0%.0%.0%.0:80", "127.0.0.1:@PORT@")
        :gsub("/run/tidegate", "@DIR@"):gsub("/var/log/tidegate", "@DIR@"),
      files = { ["conf.d/app.lua"] = read("examples/service/conf.d/app.lua") },
      env = { PARTNER_KEY = "0123456789abcdef", RUNTIME_DIRECTORY = false, LOGS_DIRECTORY = false },
    })
  end)

  teardown(function()
    g:stop()
  end)

  it("serves what its parts declare", function()
    local address = "curl -i http://127.0.0.1:" .. g.port
    assert.equal(200, (curl(address .. "/")))
    assert.equal(401, (curl(address .. "/partners/")))
    assert.equal(200, (curl(address .. "/partners/ -H 'x-api-key: 0123456789abcdef'")))
  end)

  it("has a unit whose commands are taken, and which waits longer than the gateway drains", function()
    local unit = read("examples/service/tidegate.service")
    local program = os.getenv("TIDEGATE_BIN")
    local start = unit:match("ExecStart=/usr/local/bin/tidegate (%w+) /etc/tidegate/gateway.lua\n")
    assert.equal(0, os.execute(("'%s' help %s >/dev/null"):format(program, start)))
    local reload = unit:match("ExecReload=/usr/local/bin/tidegate ([^\n]+)\n")
      :gsub("/etc/tidegate/gateway.lua", g.dir .. "/gateway.lua")
    assert.equal(0, os.execute(("PARTNER_KEY=0123456789abcdef '%s' %s >/dev/null"):format(program, reload)))
    assert.is_true(tonumber(unit:match("TimeoutStopSec=(%d+)")) > 30)
  end)
end)
