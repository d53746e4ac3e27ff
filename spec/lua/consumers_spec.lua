-- tg.consumer in a configuration: what becomes of it, and what is wrong with it.

local host = require "support.config_host"

local HEAD = 'local tg = require "tidegate"\ntg.listener "http" { address = "127.0.0.1:0" }\n' ..
             'tg.route "all" { plugins = { tg.use "answer" {} } }\n'
-- Values long enough to be looked for in messages.
local ENV = { K1 = "key-one", K2 = "key-two", EMPTY = "", SPACES = " key", LINES = "a\nb",
              LONG = ("x"):rep(4097) }

local function world()
  return {
    env = ENV,
    files = { ["keys.env"] = "# keys of customers\nA=key-a\n\n ACME\t= key-b \r\nC=with=signs\n",
              ["bad.env"] = "A=1\nnonsense\nA=2\n" },
    bundled = {
      answer = host.plugin("answer", "traffic", { "access" }),
      limit = host.plugin("limit", "traffic", { "access" },
        "  schema = S.record { max = S.int():default(1) },\n"),
      check = host.plugin("check", "guard", { "access", "header_filter" }),
      auth = host.plugin("auth", "auth", { "access" }),
      allow = host.plugin("allow", "guard", { "access" },
        '  schema = S.record { groups = S.list(S.ref "group"), one = S.ref "consumer":optional() },\n'),
    },
  }
end

local function load(text)
  local tree, reports = host.load(HEAD .. text, world())
  assert(tree, reports:render())
  return tree, reports:render()
end

local function complaint(text)
  return host.errors(HEAD .. text, world())
end

describe("consumers in a configuration", function()
  it("become a list", function()
    local tree = load([==[
tg.consumer "acme" {
  id = "c-1", custom_id = "4711", groups = { "gold", "eu" }, tags = { "t" },
  importance = "high", queue_priority = 9,
  metadata = { plan = { seats = 5 } },
  credentials = { key = { tg.secret "env:K1", tg.secret "env:K2" }, subject = "acme@idp" },
}
tg.consumer "jo@example.test" {}
]==])
    assert.same({
      { name = "acme", id = "c-1", custom_id = "4711", groups = { "gold", "eu" }, tags = { "t" },
        importance = "high", queue_priority = 9, metadata = { plan = { seats = 5 } }, plugins = 0,
        credentials = { key = { "key-one", "key-two" }, subject = { "acme@idp" } } },
      { name = "jo@example.test", groups = {}, tags = {}, credentials = {}, plugins = 0 },
    }, tree.consumers)
    assert.same({}, tree.consumer_plugins)
  end)

  it("may have their keys in one file, by name", function()
    local tree = load([==[
for _, name in ipairs { "A", "ACME", "C" } do
  tg.consumer(name) { credentials = { key = tg.secret("file:keys.env", name) } }
end
]==])
    local keys = {}
    for i, consumer in ipairs(tree.consumers) do keys[i] = consumer.credentials.key[1] end
    assert.same({ "key-a", "key-b", "with=signs" }, keys)
  end)

  it("share one list of plugins when theirs are equal", function()
    local tree = load([==[
for _, name in ipairs { "a", "b", "c" } do
  tg.consumer(name) { plugins = { tg.use "limit" { max = name == "c" and 9 or 5 } } }
end
tg.consumer "d" { plugins = { tg.use "limit" { max = 5 } },
                  routes = { all = { tg.use "limit" { max = 9 } } } }
tg.consumer "e" { plugins = { tg.use("limit", { id = "own" }) { max = 5 } } }
]==])
    local lists = {}
    for i, consumer in ipairs(tree.consumers) do lists[i] = consumer.plugins end
    assert.same({ 1, 1, 2, 3, 4 }, lists)
    assert.equal(4, #tree.instances) -- answer, and three different limits
    local d = tree.consumer_plugins[3]
    assert.equal(tree.consumer_plugins[1].chain, d.chain)
    assert.equal(5, tree.instances[tree.chains[d.chain].access[1]].conf.max)
    assert.equal(1, d.routes[1].route)
    assert.same(tree.chains[tree.consumer_plugins[2].chain].access, tree.chains[d.routes[1].chain].access)
  end)

  it("put the plugins of a route beside those for everywhere, and in place of the same ones", function()
    local tree = load([==[
tg.consumer "a" { plugins = { tg.use "limit" { max = 5 }, tg.use "check" {} },
                  routes = { all = { tg.use "limit" { max = 9 } } } }
]==])
    local chain = tree.chains[tree.consumer_plugins[1].routes[1].chain]
    local names = {}
    for i, index in ipairs(chain.access) do
      local instance = tree.instances[index]
      names[i] = tree.plugins[instance.plugin].name .. " " .. tostring(instance.conf.max)
    end
    assert.same({ "check nil", "limit 9" }, names)
  end)

  it("warn of plugins that come before anybody is known", function()
    local tree, text = load 'tg.consumer "a" { plugins = { tg.use "auth" {} } }\n'
    assert.contains('gateway.lua:4:31: warning: consumers.a.plugins[1] (auth): stage "auth" cannot be ' ..
      "attached to a consumer", text)
    assert.contains("= consumers are known only after the auth stage; attach it to a route, service or " ..
      "globally", text)
    assert.equal(0, tree.consumers[1].plugins)
    assert.equal(1, #tree.instances)
  end)

  it("are named by S.ref, as are their groups", function()
    local tree = load([==[
local a = tg.consumer "a" { groups = { "gold" } }
tg.route "r" { paths = { "/r" },
               plugins = { tg.use "answer" {}, tg.use "allow" { groups = { "gold" }, one = a } } }
]==])
    local conf
    for _, instance in ipairs(tree.instances) do conf = instance.conf.groups and instance.conf or conf end
    assert.same({ groups = { "gold" }, one = "a" }, conf)
  end)

  it("share a plugin only where its configuration is the same to the last digit", function()
    local tree = load([==[
tg.consumer "a" { plugins = { tg.use "limit" { max = 9007199254740992 } } }
tg.consumer "b" { plugins = { tg.use "limit" { max = 9007199254740991 } } }
]==])
    local most = {}
    for _, instance in ipairs(tree.instances) do most[#most + 1] = instance.conf.max end
    assert.same({ 9007199254740992, 9007199254740991 }, most)
  end)

  local CASES = {
    { "an unknown group", 'tg.consumer "a" { groups = { "gold" } }\n' ..
      'tg.global { tg.use "allow" { groups = { "goold" } } }',
      { 'global[1] (allow).groups[1]: no group is called "goold"', 'did you mean "gold"? (gateway.lua:4)' } },
    { "a group where none is declared", 'tg.global { tg.use "allow" { groups = { "gold" } } }',
      { 'no group is called "gold"', "none is declared" } },
    { "an unknown consumer",
      'tg.consumer "acme" {}\ntg.global { tg.use "allow" { groups = {}, one = "acne" } }',
      { 'no consumer is called "acne"', 'did you mean "acme"? (gateway.lua:4)' } },
    { "the same key twice", 'tg.consumer "a" { credentials = { key = tg.secret "env:K1" } }\n' ..
      'tg.consumer "b" { credentials = { key = { tg.secret "env:K2", tg.secret "env:K1" } } }',
      { 'gateway.lua:5:63: consumers.b.credentials.key[2]: consumer "a" has the same value',
        "= declared at gateway.lua:4" } },
    { "the same key twice at one", 'tg.consumer "a" { credentials = { key = { tg.secret "env:K1", ' ..
      'tg.secret "env:K1" } } }', { "consumers.a.credentials.key[2]: the same value twice" } },
    { "an empty key among several", 'tg.consumer "a" { credentials = { key = { tg.secret "env:K1", ' ..
      'tg.secret "env:EMPTY" } } }', { "consumers.a.credentials.key[2]: the value is empty" } },
    { "an empty key", 'tg.consumer "a" { credentials = { key = tg.secret "env:EMPTY" } }',
      { "consumers.a.credentials.key: the value is empty" } },
    { "a key that begins with a space", 'tg.consumer "a" { credentials = { key = tg.secret "env:SPACES" } }',
      { "consumers.a.credentials.key: the value begins or ends with a space" } },
    { "a key of two lines", 'tg.consumer "a" { credentials = { key = tg.secret "env:LINES" } }',
      { "the value has a line break or another control character in it" } },
    { "a key that fits no header", 'tg.consumer "a" { credentials = { key = tg.secret "env:LONG" } }',
      { "the value is longer than 4096 bytes" } },
    { "a key in the clear", 'tg.consumer "a" { credentials = { key = "hunter2" } }',
      { "consumers.a.credentials.key: expected a secret or a list" } },
    { "no keys in a list", 'tg.consumer "a" { credentials = { key = {} } }',
      { "consumers.a.credentials.key: the list is empty" } },
    { "a kind of credential that there is not",
      'tg.consumer "a" { credentials = { kee = tg.secret "env:K1" } }',
      { "consumers.a.credentials.kee: unknown field", 'did you mean "key"?' } },
    { "groups that are none", 'tg.consumer "a" { groups = "gold" }',
      { "consumers.a.groups: expected a list, got string \"gold\"", "write a list: { … }" } },
    { "a group that is a number", 'tg.consumer "a" { groups = { 7 } }',
      { "consumers.a.groups[1]: expected a string, got number 7" } },
    { "a group with a comma", 'tg.consumer "a" { groups = { "a,b" } }', { "consumers.a.groups[1]:" } },
    { "a name that is none", 'tg.consumer "a b" {}', { '"a b" is not a name for a consumer', '"@"' } },
    { "a name twice", 'tg.consumer "a" {}\ntg.consumer "a" {}', { 'consumer "a" is declared twice' } },
    { "an id that is another's name", 'tg.consumer "a" {}\ntg.consumer "b" { id = "a" }',
      { 'consumers.b.id: consumer "a" has the id "a" too', "declared at gateway.lua:4" } },
    { "a custom id twice", 'tg.consumer "a" { custom_id = "1" }\ntg.consumer "b" { custom_id = "1" }',
      { 'consumers.b.custom_id: consumer "a" has the custom_id "1" too' } },
    { "plugins on a route that is not there", 'tg.consumer "a" { routes = { al = { tg.use "limit" {} } } }',
      { "consumers.a.routes.al", 'no route is called "al"', 'did you mean "all"?' } },
    { "a plugin twice", 'tg.consumer "a" { plugins = { tg.use "limit" {}, tg.use "limit" { max = 2 } } }',
      { '"limit" is attached twice here' } },
    { "an order among others' plugins",
      'tg.consumer "a" { plugins = { tg.use("limit", { before = "answer" }) {} } }',
      { 'consumers.a.plugins[1] (limit).before: "answer" is none of the consumer\'s plugins',
        "before and after order a consumer's plugins among themselves" } },
    { "a name that its file has not",
      'tg.consumer "a" { credentials = { key = tg.secret("file:keys.env", "ACNE") } }',
      { 'keys.env has no line for "ACNE"', 'did you mean "ACME"?' } },
    { "a file of secrets that is none",
      'tg.consumer "a" { credentials = { key = tg.secret("file:bad.env", "A") } }',
      { "line 2 of bad.env is not NAME=VALUE", 'line 3 of bad.env names "A" again' } },
    { "a name of a line of no file", 'tg.secret("env:K1", "A")', { 'tg.secret("file:PATH", "NAME")' } },
    { "an importance that there is not", 'tg.consumer "a" { importance = "hig" }',
      { "consumers.a.importance:", 'did you mean "high"?' } },
    { "a queue priority out of range", 'tg.consumer "a" { queue_priority = 10 }',
      { "consumers.a.queue_priority: 10 is above the maximum 9" } },
    { "metadata that is no data", 'tg.consumer "a" { metadata = { f = print } }',
      { "consumers.a.metadata.f: expected plain data, got a function" } },
  }
  for _, case in ipairs(CASES) do
    it("tell of " .. case[1], function()
      local text = complaint(case[2] .. "\n")
      for _, part in ipairs(case[3]) do assert.contains(part, text) end
      for _, value in pairs(ENV) do
        if #value > 4 then assert.is_nil(text:find(value, 1, true)) end
      end
      assert.is_nil(text:find("hunter2", 1, true))
    end)
  end
end)
