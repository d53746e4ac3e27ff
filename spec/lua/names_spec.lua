-- Names that nothing bears, in configurations that declare very many.

local host = require "support.config_host"

local HEAD = 'local tg = require "tidegate"\ntg.listener "http" { address = "127.0.0.1:0" }\n'

-- Runs `fn` with as many calls of the function at `name` in `library` counted.
local function counted(library, name, fn)
  local real, calls = library[name], 0
  library[name] = function(...)
    calls = calls + 1
    return real(...)
  end
  local ok, result = pcall(fn)
  library[name] = real
  assert(ok, result)
  return calls, result
end

describe("a name that nothing bears", function()
  it("is told with the nearest, and beyond the messages that are shown nobody looks for it", function()
    local suggest = require "tidegate.suggest"
    local calls, text = counted(suggest, "nearest", function()
      return host.errors(HEAD .. [[
for i = 1, 300 do tg.service("back" .. i) { builtin = "echo" } end
for i = 1, 300 do tg.route("r" .. i) { paths = { "/" .. i }, service = "bakc" .. i } end
]], {})
    end)
    assert.contains('no service is called "bakc1"', text)
    assert.contains('did you mean "back1"? (gateway.lua:3)', text)
    assert.contains("200 further messages not shown", text)
    assert.equal(100, calls)
  end)

  it("in an order is looked for among the names that there are, each once", function()
    local suggest = require "tidegate.suggest"
    local most = 0
    local real = suggest.nearest
    suggest.nearest = function(name, candidates)
      most = math.max(most, #candidates)
      return real(name, candidates)
    end
    local ok, text = pcall(host.errors, HEAD .. [[
for i = 1, 50 do
  tg.route("r" .. i) { paths = { "/" .. i }, plugins = { tg.use("answer", { after = "anwser-2" }) {} } }
end
]], { bundled = { answer = host.plugin("answer", "traffic", { "access" }) } })
    suggest.nearest = real
    assert(ok, text)
    assert.contains('no plugin is called "anwser-2"', text)
    assert.equal(1, most)
  end)
end)
