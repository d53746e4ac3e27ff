--- The program run for one answer: a folder of files, a command in it, and what it said.
--
--     local c = command.folder()
--     c:write("gateway.lua", text)
--     local code, out, err = c:run("check", "--json")
--     c:close()

local process = require("support.process")
local stdlib = require("posix.stdlib")
local unistd = require("posix.unistd")

local command = {}
command.__index = command

--- A folder of its own.
function command.folder()
  local dir = assert(stdlib.mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/tidegate-spec-XXXXXX"))
  return setmetatable({ dir = dir }, command)
end

function command:write(name, text)
  local file = assert(io.open(self.dir .. "/" .. name, "w"))
  file:write(text)
  file:close()
end

function command:read(name)
  local file = assert(io.open(self.dir .. "/" .. name))
  local text = file:read("*a")
  file:close()
  return text
end

--- Runs the program in the folder: exit status, stdout, stderr.
function command:run(...)
  local out, err = process.output(self.dir .. "/out"), process.output(self.dir .. "/err")
  local argv = { os.getenv("TIDEGATE_BIN"), ... }
  local p = process.spawn({ argv = argv, cwd = self.dir, stdout = out, stderr = err })
  unistd.close(out)
  unistd.close(err)
  local status = p:wait() or p:kill()
  return status.code, self:read("out"), self:read("err")
end

function command:close()
  os.execute(("rm -rf '%s'"):format(self.dir))
end

return command
