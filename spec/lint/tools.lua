--- The checkers that others wrote: luacheck, clang-format and clang-tidy, each one result.
--
-- clang-tidy runs on core/ only, two files at a time, with the checks of .clang-tidy. TIDY_FLAGS
-- holds the compiler flags, which the Makefile knows.


local LUA = "find lua plugins spec examples .busted -name '*.lua' -o -name .busted"
local C = "find core spec -name '*.[ch]'"
local UNITS = "find core -name '*.c'"
local TIDY = "clang-tidy --quiet --warnings-as-errors=* {} -- " .. (os.getenv("TIDY_FLAGS") or "-Icore")

local TOOLS = {
  { "luacheck: Lua is clean", LUA .. " | xargs -r luacheck --no-color -q" },
  { "clang-format: C is formatted (make fmt)", C .. " | xargs -r clang-format --dry-run -Werror" },
  { "clang-tidy: C is clean", UNITS .. " | xargs -r -P2 -I{} " .. TIDY },
}

local function run(command)
  local pipe = io.popen("{ " .. command .. "; } 2>&1; echo \"status $?\"")
  local output = pipe:read("*a")
  pipe:close()
  local text, status = output:match("^(.*)status (%d+)\n$")
  return status == "0", text
end

print("1.." .. #TOOLS)
local good = true
for number, tool in ipairs(TOOLS) do
  local ok, output = run(tool[2])
  good = good and ok
  print(("%sok %d - %s"):format(ok and "" or "not ", number, tool[1]))
  if not ok then
    for line in output:gmatch("[^\n]+") do
      if not line:match("^%d+ warnings? generated%.$") then
        print("# " .. line)
      end
    end
  end
end
os.exit(good and 0 or 1)
