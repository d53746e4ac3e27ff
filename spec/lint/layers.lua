--- Layers: a folder of core/ includes itself and those that core/LAYERS allows, nothing else.

package.path = "./spec/?.lua;" .. package.path
local check = require("lint.check")

local allowed = {}
for _, line in ipairs(check.lines("core/LAYERS")) do
  local folder, list = line:match("^(%l+):%s*(.*)$")
  if folder then
    allowed[folder] = { [folder] = true }
    for name in list:gmatch("%S+") do
      allowed[folder][name] = true
    end
  end
end

for _, path in ipairs(check.find("core -mindepth 2 -name '*.[ch]' -o -mindepth 2 -name '*.def'")) do
  local folder = path:match("^core/([^/]+)/")
  local may = allowed[folder]
  if not may then
    check.problem(path, "folder " .. folder .. " is not in core/LAYERS")
  else
    for number, line in ipairs(check.lines(path)) do
      local target = line:match('^%s*#%s*include%s+"([^"]+)"')
      local layer = target and target:match("^([^/]+)/")
      local where = path .. ":" .. number
      if target and not layer then
        check.problem(where, ('write "%s/%s": includes name their folder'):format(folder, target))
      elseif target and not (may[layer] or may["*"]) then
        check.problem(where, ("%s may not include %s (core/LAYERS); call upward through a callback")
          :format(folder, target))
      end
    end
  end
end

check.finish("layers: includes follow core/LAYERS")
