-- Vectors: code from outside, the libraries that reach the host, and ways back to what was removed.

local sandbox = require("support.sandbox")

sandbox.suite("a plugin that looks for code to run", {}, {
  { "asks for string.dump", "return string.dump", answers = "nil" },
  { "asks a string for dump", "return ('').dump", answers = "nil" },
  { "calls string.dump", "return string.dump(function() end)", raises = "attempt to call field 'dump'" },
  { "looks for the host in os", [[
      local found = {}
      for name in pairs(os) do found[#found + 1] = name end
      table.sort(found)
      return table.concat(found, " ")]], answers = "clock date time" },
  { "runs a program", "local function of(o) return o.execute 'true' end return of(os)",
    raises = "a plugin has no os.execute, only" },
  { "ends the process", "local function of(o) return o.exit(0) end return of(os)",
    raises = "a plugin has no os.exit, only" },
  { "looks for more in the other libraries", [[
      local found = {}
      for _, library in ipairs { table, bit, coroutine, string } do
        for name in pairs(library) do found[#found + 1] = name end
      end
      table.sort(found)
      return table.concat(found, " ")]], answers = "arshift band bnot bor bswap bxor byte char concat "
        .. "create find format gmatch gsub insert isyieldable len lower lshift match maxn move new remove "
        .. "rep resume reverse rol ror rshift running sort status sub tobit tohex upper wrap yield" },
  { "collects to make others wait", "return collectgarbage()",
    raises = 'collectgarbage("collect") is not available; only "count" is' },
  { "stops the collector", "return collectgarbage 'stop'",
    raises = 'collectgarbage("stop") is not available' },
  { "steps the collector", "return collectgarbage('step', 1000)",
    raises = 'collectgarbage("step") is not available' },
  { "tunes the collector", "return collectgarbage('setpause', 1000)",
    raises = 'collectgarbage("setpause") is not available' },
  { "counts its own bytes", "local n = collectgarbage 'count' return n > 1 and n < 4096", answers = "true" },
  { "hides a finaliser in a metatable", [[
      kept.t = setmetatable({}, { __gc = function() while true do end end })
      kept.t = nil
      for i = 1, 1e4 do local _ = { i } end
      return "collected"]], answers = "collected" },
})

sandbox.suite("a plugin that requires", {
  files = {
    ["attacker/data.lua"] = "return { 1 }\n",
    ["secret.lua"] = "return 'secret'\n",
  },
  prelude = [[
    local messages = {}
    for _, name in ipairs {
      "ffi", "jit", "jit.util", "jit.opt", "io", "os", "debug", "package", "cjson", "posix",
      "../secret", "..secret", "/etc/passwd", "attacker/../../secret", "secret", "tidegate.config",
      "tidegate.sandbox", "", ".", "data\0x", ("x"):rep(1e5), ("a."):rep(5000),
    } do
      local ok, message = pcall(require, name)
      if ok or not message:find("no such module", 1, true) then
        messages[#messages + 1] = name:sub(1, 20) .. ": " .. tostring(message):sub(1, 100)
      end
    end
    require "data"
  ]],
}, {
  { "finds only its own files and the library", "return table.concat(messages, '; ')", answers = "" },
  { "gets what it loaded before, not the host's modules", "return require('data')[1]", answers = "1" },
  { "loads nothing more once it serves", "return require 'other'",
    raises = 'require "other": modules are loaded at start only' },
  { "passes a number", "return require(nil)", raises = "bad argument #1 to" },
})
