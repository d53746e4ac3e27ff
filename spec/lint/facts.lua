--- Facts about the repository that a reader relies on: what every folder, unit, plugin and fuzz target
-- comes with, and words that do not belong in it.

package.path = "./spec/?.lua;" .. package.path
local check = require("lint.check")

local function need(path, why)
  if not check.exists(path) then
    check.problem(path, "missing: " .. why)
  end
end

for _, folder in ipairs({ "core", "lua", "plugins", "spec", "examples" }) do
  need(folder .. "/README.md", "says what lives in " .. folder .. "/ and in which order to read it")
end

-- Units: x.c has its x.h, or includes first, after banned.h, a header of its folder that holds the
-- contract of several units; a test has its unit, a header its guard, every file its opening comment.
local function has_contract(path)
  local first = check.read(path):gsub('#include "base/banned.h"\n', ""):match('#include "([^"]+)"')
  return check.exists((path:gsub("%.c$", ".h")))
    or first and path:match("^core/(.*/)") == first:match("^.*/")
end
for _, path in ipairs(check.find("core -name '*.c'")) do
  if path ~= "core/cli/main.c" and not has_contract(path) then
    need((path:gsub("%.c$", ".h")), "the contract of " .. path)
  end
end
for _, path in ipairs(check.find("core -name '*.h'")) do
  local guard = "TG_" .. path:match("^core/(.*)%.h$"):upper():gsub("[^%u%d]", "_") .. "_H"
  if not check.read(path):find("#ifndef " .. guard .. "\n#define " .. guard .. "\n", 1, true) then
    check.problem(path, "needs the include guard " .. guard)
  end
end
for _, path in ipairs(check.find("core spec -name '*.[ch]'")) do
  if check.read(path):sub(1, 2) ~= "/*" then
    check.problem(path, "opens without a comment on its purpose")
  end
end
for _, path in ipairs(check.find("lua plugins spec examples -name '*.lua'")) do
  if check.read(path):sub(1, 2) ~= "--" then
    check.problem(path, "opens without a comment on its purpose")
  end
end
local function is_unit(name)
  return check.exists(name .. ".c") or check.exists(name .. ".h")
end
for _, path in ipairs(check.find("spec/core -mindepth 2 -name '*_test.c'")) do
  local unit = path:gsub("^spec/", ""):gsub("_test%.c$", "")
  local part = unit:match("^(.*)_[^_/]+$") -- sink_thread_test.c is a second file for sink.c
  if not (is_unit(unit) or part and is_unit(part)) then
    check.problem(path, "tests " .. unit .. ".c, which does not exist: tests mirror core/")
  end
end

-- Plugins and fuzz targets.
for _, folder in ipairs(check.find("plugins -mindepth 1 -maxdepth 1 -type d")) do
  need(folder .. "/init.lua", "the plugin itself")
  need(folder .. "/README.md", "what the plugin does, its config and an example")
  need("spec/" .. folder .. "_spec.lua", "the plugin's specs")
end
for _, path in ipairs(check.find("spec/fuzz -name '*_fuzz.c'")) do
  local seeds = "spec/fuzz/corpus/" .. path:match("([^/]+)_fuzz%.c$")
  if #check.find(seeds .. " -type f") == 0 then
    check.problem(seeds, "missing: seeds for " .. path)
  end
end

-- Words: unfinished work, sleeping specs, paths of one machine.
local WORDS = {
  { "%f[%u]TODO%f[%U]", "finish it, or write the limitation down in a README" },
  { "%f[%u]FIXME%f[%U]", "mend it" },
  { "%f[%u]XXX%f[%U]", "say what is wrong, and mend it" },
  { "/home/%l", "no absolute paths of a machine" },
}
local this = "spec/lint/facts.lua"
for _, path in ipairs(check.find("core lua plugins spec examples -type f -size -256k " ..
  "\\( -name '*.[ch]' -o -name '*.lua' -o -name '*.def' -o -name '*.md' \\)")) do
  for number, line in ipairs(path ~= this and check.lines(path) or {}) do
    for _, word in ipairs(WORDS) do
      if line:find(word[1]) then
        check.problem(path .. ":" .. number, line:match(word[1]) .. ": " .. word[2])
      end
    end
    local sleeps = path:match("^spec/") and line:find("%f[%w:]u?n?a?n?o?sleep%s*%(")
    if sleeps and not path:match("^spec/lint/") then
      check.problem(path .. ":" .. number, "specs do not sleep: wait for a condition with a deadline")
    end
  end
end

check.finish("facts: READMEs, units, plugins, fuzz seeds, words")
