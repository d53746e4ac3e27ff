# Tidegate's build. `make help` lists the targets; spec/README.md tells how the suite is laid out.
#
# How it works. One set of rules builds every variant: BUILD names it (release, asan, tsan, cover,
# fuzz) and decides the flags and the folder, build/ for release and build/<variant>/ for the others,
# so that `make asan` is `make BUILD=asan test` and no rule stands twice. Sources are found by
# wildcard: a new core/<folder>/x.c, spec/core/<folder>/x_test.c or spec/fuzz/x_fuzz.c is built
# without an edit here. Headers are tracked by the compiler (-MMD), flags and lists of files by small
# stamps that change only when their text does.
#
# What a machine lacks is installed through apt-get: the packages that the goal needs are asked from
# dpkg at every start (some 20 ms), and only missing ones are fetched. build/deps.mk holds what
# pkg-config answered; make rebuilds it, when it must, before anything else and then starts over.

BUILD  ?= release
CC     := $(if $(filter default,$(origin CC)),gcc,$(CC))
JOBS   ?= $(shell nproc)
T      ?= 60
SHELL  := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif

OUT := build$(if $(filter-out release,$(BUILD)),/$(BUILD))
BIN := $(if $(wildcard core/cli/main.c),$(OUT)/tidegate)
# What is built is named in short; V=1 shows the commands.
say  = $(if $(V),,@printf '  %-5s %s\n' $(1) $@;)

# ---- Dependencies ------------------------------------------------------------------------------

GOALS := $(or $(MAKECMDGOALS),all)

PACKAGES := gcc libc6-dev binutils pkgconf libev-dev libssl-dev zlib1g-dev libbrotli-dev libzstd-dev \
	libnghttp2-dev libc-ares-dev libpcre2-dev lua-cjson curl openssl
TEST_PACKAGES := libcmocka-dev lua-busted lua-posix brotli zstd nghttp2-client nodejs node-ws
# Others' packages of node bring an npm of their own.
TEST_PACKAGES += $(if $(shell command -v npm),,npm)
ifneq ($(filter test test-threads check spec asan tsan sweep sweep-units fuzz fuzz-targets cover lint,$(GOALS)),)
PACKAGES += $(TEST_PACKAGES)
endif
ifneq ($(filter browser,$(GOALS)),)
PACKAGES += $(TEST_PACKAGES) chromium
endif
ifneq ($(filter lint fmt,$(GOALS)),)
PACKAGES += lua-check clang-format clang-tidy
endif
ifneq ($(filter fuzz,$(GOALS))$(filter clang,$(CC)),)
PACKAGES += clang libclang-rt-14-dev
endif

# Debian has two LuaJITs that exclude each other: the one in place is used, OpenResty's is installed
# where there is none. The same holds for the interpreter, which the specs need.
ifeq ($(shell pkg-config --exists luajit 2>/dev/null && echo yes),)
PACKAGES += $(if $(wildcard /var/lib/dpkg/info/libluajit-5.1-2*.list),libluajit-5.1-dev,libluajit2-5.1-dev)
endif
ifeq ($(shell command -v luajit),)
PACKAGES += $(if $(wildcard /var/lib/dpkg/info/libluajit-5.1-2*.list),luajit,luajit2)
endif
# llhttp as a system library where a release has one, else the C sources that Debian ships for Node.
ifeq ($(shell pkg-config --exists libllhttp 2>/dev/null && echo yes),)
PACKAGES += node-llhttp
endif

ifneq ($(filter-out help clean,$(GOALS)),)
ifneq ($(shell command -v dpkg-query),)
MISSING := $(filter-out $(shell dpkg-query -W -f='$${db:Status-Abbrev}$${Package}\n' $(PACKAGES) \
	2>/dev/null | sed -n 's/^[ih]i *//p'),$(PACKAGES))
endif
include build/deps.mk
endif

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
APT_INSTALL := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends

build/deps.mk: Makefile $(if $(MISSING),FORCE)
	@mkdir -p build
	@if [ -n '$(MISSING)' ]; then \
	    echo 'installing: $(MISSING)'; \
	    $(APT_INSTALL) $(MISSING) || { $(SUDO) apt-get update && $(APT_INSTALL) $(MISSING); } || { \
	        echo 'make: cannot install the packages above; as root: apt-get install $(MISSING)' >&2; \
	        exit 1; }; \
	fi
	@{ echo 'DEP_CFLAGS := $(DEP_PKG_CFLAGS)'; echo 'DEP_LIBS := $(DEP_PKG_LIBS)'; \
	   echo 'LLHTTP_DIR := $(LLHTTP_FROM)'; } > $@

# Expanded when the recipe above runs its last line; pkg-config must be there by then, so the shell
# asks, not make.
DEP_PKGS = luajit openssl zlib libbrotlienc libbrotlidec libzstd libnghttp2 libcares libpcre2-8 $$(pkg-config --exists libllhttp && echo libllhttp)
DEP_PKG_CFLAGS = '"$$(pkg-config --cflags $(DEP_PKGS))"'
DEP_PKG_LIBS = '"$$(pkg-config --libs $(DEP_PKGS))"'
LLHTTP_FROM = '"$$(pkg-config --exists libllhttp || echo /usr/share/llhttp)"'

# ---- Flags -------------------------------------------------------------------------------------

# Frame pointers stay: `perf record -g` and crash reports walk our stacks without DWARF, which is how
# the costs that this project promises are found; on a 64-bit machine that takes one register of 16.
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror
BASE_CFLAGS := -std=c11 -D_GNU_SOURCE -g -fno-omit-frame-pointer -pthread -Icore

# -O3 is 5 % fewer instructions a proxied request than -O2 (callgrind). Code is not aligned: a request
# passes once through a lot of it, so the cache lines that padding fills cost more than it gains, and
# neither do calls into libraries take the way over stubs on lines of their own (-fno-plt).
# TG_DEV switches tg_assert_slow on: everywhere but in the release.
CFLAGS_release := -O3 -fno-plt -fno-align-functions \
	$(if $(findstring clang,$(CC)),,-fno-align-jumps -fno-align-loops -fno-align-labels) \
	-D_FORTIFY_SOURCE=2 -fstack-protector-strong
CFLAGS_profile := $(CFLAGS_release)
CFLAGS_asan    := -O1 -DTG_DEV -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_tsan    := -O1 -DTG_DEV -fsanitize=thread
CFLAGS_cover   := -O0 -DTG_DEV --coverage
CFLAGS_fuzz    := -O1 -DTG_DEV -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
VARIANTS := release profile asan tsan cover fuzz
ifeq ($(filter $(BUILD),$(VARIANTS)),)
$(error BUILD=$(BUILD) is unknown; one of: $(VARIANTS))
endif
ifeq ($(BUILD),fuzz)
override CC := clang
endif

# The folders that a request passes through are optimised by a profile, and together when the program is
# linked: a request runs once through so much code that fetching it is much of what it costs. With the
# profile, what requests pass lies side by side, and calls inlined across files leave less to fetch: a
# seventh fewer instructions a request for the profile alone. It is made anew whenever core/ changes: the
# program is built once with counters (BUILD=profile), and spec/profile/run sends that one some thousand
# requests over unix sockets. PROFILE=0 is for who cannot run what he builds. LTO=0 does without either, for
# who changes and links all day. Unit tests and micro benches are linked from the same objects.
LTO     ?= 1
PROFILE ?= $(LTO)
HOT_FOLDERS := base observe route limit event net http upstream gateway
ifeq ($(BUILD) $(findstring clang,$(CC)),release )
ifeq ($(LTO),1)
LTO_COMPILE := -flto -ffat-lto-objects
HOT_COMPILE := $(LTO_COMPILE)
LTO_LINK := -flto=auto
NO_LTO := -fno-lto
endif
ifeq ($(PROFILE),1)
# The compiler finds the counts by the folder of the object that counted (-dumpdir), which is also part of
# what it knows static functions by. Code that the profile did not see is compiled as without one.
HOT_COMPILE = $(LTO_COMPILE) -dumpdir $(dir $(@:build/%=build/profile/%)) -fprofile-use \
	-fprofile-partial-training
HOT_AFTER := build/profile/counts
endif
else ifeq ($(BUILD),profile)
HOT_COMPILE := -fprofile-generate -fprofile-update=prefer-atomic
LTO_LINK := -fprofile-generate
endif

VARIANT := $(CFLAGS_$(BUILD))
ALL_CFLAGS := $(BASE_CFLAGS) $(if $(LLHTTP_DIR),-isystem /usr/share/include/llhttp) $(DEP_CFLAGS) \
	$(VARIANT) $(CFLAGS)
# -E exports our symbols to Lua's C modules; --as-needed drops the libraries that nothing calls yet.
LINK := -pthread $(VARIANT) -Wl,-E -Wl,--as-needed -Wl,-z,relro,-z,now $(LDFLAGS)
LIBS := $(DEP_LIBS) -lev -ldl -lm

# ---- Files -------------------------------------------------------------------------------------

CORE_SRC  := $(wildcard core/*/*.c)
CORE_OBJ  := $(CORE_SRC:%.c=$(OUT)/obj/%.o)
MAIN_OBJ  := $(filter %/core/cli/main.o,$(CORE_OBJ))
LLHTTP_OBJ := $(if $(LLHTTP_DIR),$(patsubst $(LLHTTP_DIR)/%.c,$(OUT)/obj/llhttp/%.o,$(wildcard $(LLHTTP_DIR)/*.c)))
HOT_OBJ   := $(foreach folder,$(HOT_FOLDERS),$(filter $(OUT)/obj/core/$(folder)/%,$(CORE_OBJ)))
LIB_OBJ   := $(filter-out $(MAIN_OBJ),$(CORE_OBJ)) $(OUT)/obj/gen/embed.o $(LLHTTP_OBJ)
PIC_OBJ   := $(patsubst $(OUT)/obj/%,$(OUT)/pic/%,$(filter-out $(OUT)/obj/core/cli/% %/gen/embed.o,$(LIB_OBJ)))
LIB       := $(OUT)/libtidegate.a
UNIT_SRC  := $(wildcard spec/core/*/*_test.c)
UNITS     := $(UNIT_SRC:%.c=$(OUT)/%)
FUZZ_SRC  := $(wildcard spec/fuzz/*_fuzz.c)
FUZZERS   := $(FUZZ_SRC:spec/fuzz/%.c=build/fuzz/%)
FUZZ_RUN  := $(if $(F),$(filter %/$(F)_fuzz,$(FUZZERS)),$(FUZZERS))
MICRO_SRC := $(wildcard spec/bench/micro/*_bench.c)
MICROS    := $(MICRO_SRC:%.c=$(OUT)/%)
EMBEDDED  := $(sort $(shell find lua plugins -name '*.lua' 2>/dev/null))
C_FILES   := $(wildcard core/*/*.[ch] spec/core/*.h spec/core/*/*.[ch] spec/fuzz/*.[ch] spec/bench/micro/*.[ch])
.SECONDARY:

# ---- Building ----------------------------------------------------------------------------------

all: $(if $(BIN),$(BIN),$(LIB)) ## build build/tidegate (release); installs missing Debian packages

# $(call stamp,text): rewrites its target only when the text has changed.
stamp = @mkdir -p $(@D); printf '%s\n' '$(strip $(1))' | cmp -s - $@ || printf '%s\n' '$(strip $(1))' > $@

$(OUT)/flags: FORCE
	$(call stamp,$(CC) $(ALL_CFLAGS) $(HOT_COMPILE) $(LTO_LINK) $(LINK))

$(OUT)/objects: FORCE
	$(call stamp,$(CORE_OBJ))

build/gen/embed.list: FORCE
	$(call stamp,$(EMBEDDED))

$(OUT)/obj/core/%.o: core/%.c $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CFLAGS) $(if $(filter $(HOT_OBJ),$@),$(HOT_COMPILE)) $(WARN) -MMD -MP -c -o $@ $<

$(HOT_OBJ): $(HOT_AFTER)

# What the hot folders' code did: the program with counters leaves a .gcda file beside each of its objects.
ifeq ($(BUILD),profile)
build/profile/counts: $(OUT)/tidegate $(wildcard spec/profile/*) examples/plugin/plugins/visitors.lua
	$(call say,RUN)find build/profile -name '*.gcda' -delete; spec/profile/run $< && touch $@
else
build/profile/counts: FORCE | build/gen/embed.S
	@$(MAKE) --no-print-directory BUILD=profile $@
endif

$(OUT)/obj/spec/%.o: spec/%.c $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CFLAGS) $(WARN) -Ispec/core -MMD -MP -c -o $@ $<

$(OUT)/obj/llhttp/%.o: $(LLHTTP_DIR)/%.c $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CFLAGS) -w -DLLHTTP_STRICT_MODE=1 -c -o $@ $<

# The Lua files inside the binary (core/base/embed.h): the assembler takes them in as they are, so
# nothing is encoded or escaped. A nil entry ends the table.
build/gen/embed.S: build/gen/embed.list $(EMBEDDED)
	@{ echo '/* Generated by the Makefile from the Lua files below. */'; \
	   echo '.section .rodata'; n=0; \
	   for f in $(EMBEDDED); do \
	       printf '.Lname%d: .asciz "%s"\n.Ldata%d: .incbin "%s"\n.set .Lsize%d, . - .Ldata%d\n.byte 0\n' \
	           $$n $$f $$n $$f $$n $$n; n=$$((n + 1)); \
	   done; \
	   printf '.section .data.rel.ro,"aw"\n.balign 8\n.globl tg_embed_table\n'; \
	   printf '.type tg_embed_table, @object\ntg_embed_table:\n'; i=0; \
	   while [ $$i -lt $$n ]; do \
	       printf '.quad .Lname%d, .Ldata%d, .Lsize%d\n' $$i $$i $$i; i=$$((i + 1)); \
	   done; \
	   printf '.quad 0, 0, 0\n.size tg_embed_table, . - tg_embed_table\n'; \
	   echo '.section .note.GNU-stack,"",@progbits'; } > $@

$(OUT)/obj/gen/embed.o: build/gen/embed.S
	@mkdir -p $(@D)
	$(call say,AS)$(CC) -c -o $@ $<

$(LIB): $(LIB_OBJ) $(OUT)/objects
	@rm -f $@
	$(call say,AR)ar rcsT $@ $(LIB_OBJ)

# The program takes every object, used or not, so that what Lua's C modules look up is there.
$(OUT)/tidegate: $(MAIN_OBJ) $(LIB_OBJ) $(OUT)/objects
	$(call say,LINK)$(CC) $(LINK) $(LTO_LINK) -o $@ $(MAIN_OBJ) $(LIB_OBJ) $(LIBS)

# The same without the command line, for specs under a busted of one's own: what Lua loads as a module
# has to be compiled for any address, so it has objects of its own. Once loaded it stays: Lua unloads
# modules when its state closes, and the watchdog's thread is still running in this one.
$(OUT)/pic/core/%.o: core/%.c $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CFLAGS) $(WARN) -fPIC -fvisibility=hidden -MMD -MP -c -o $@ $<

$(OUT)/pic/llhttp/%.o: $(LLHTTP_DIR)/%.c $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(ALL_CFLAGS) -w -DLLHTTP_STRICT_MODE=1 -fPIC -fvisibility=hidden -c -o $@ $<

$(OUT)/tidegate.so: $(PIC_OBJ) $(OUT)/obj/gen/embed.o $(OUT)/objects
	$(call say,LINK)$(CC) -shared -Wl,-z,nodelete $(LINK) -o $@ $(PIC_OBJ) $(OUT)/obj/gen/embed.o $(LIBS)

module: $(OUT)/tidegate.so ## build build/tidegate.so: tidegate.test for `busted --lua=luajit`

$(OUT)/spec/core/%: $(OUT)/obj/spec/core/%.o $(OUT)/obj/spec/core/sweep.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(LINK) $(NO_LTO) -o $@ $(filter %.o,$^) $(LIB) -lcmocka $(LIBS)

$(OUT)/spec/bench/micro/%: $(OUT)/obj/spec/bench/micro/%.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(LINK) $(NO_LTO) -o $@ $< $(LIB) $(LIBS)

build/fuzz/%_fuzz: build/fuzz/obj/spec/fuzz/%_fuzz.o $(LIB)
	$(call say,LINK)$(CC) $(LINK) -fsanitize=fuzzer -o $@ $< $(LIB) $(LIBS)

-include $(CORE_OBJ:.o=.d) $(PIC_OBJ:.o=.d) $(UNIT_SRC:%.c=$(OUT)/obj/%.d) $(FUZZ_SRC:%.c=build/fuzz/obj/%.d) \
	$(MICRO_SRC:%.c=$(OUT)/obj/%.d)

# ---- Using -------------------------------------------------------------------------------------

run: all ## build, then serve examples/hello/gateway.lua on 127.0.0.1:8080
	@printf '\nServing examples/hello/gateway.lua on http://127.0.0.1:8080, Ctrl-C stops. Try:\n\n'
	@sed -n 's/^-- *\(curl .*\)/    \1/p' examples/hello/gateway.lua; echo
	@exec $(BIN) run examples/hello/gateway.lua

# ---- Testing -----------------------------------------------------------------------------------

RUNNER = TIDEGATE_BIN='$(if $(BIN),$(CURDIR)/$(BIN))' TIDEGATE_BUILD=$(BUILD) luajit spec/run.lua

# Clients and origins of others' making, from npm, in the versions that spec/peers/package.json names.
PEERS := build/peers/node_modules/.package-lock.json

$(PEERS): spec/peers/package.json
	@mkdir -p build/peers && cp $< build/peers/
	@npm install --prefix build/peers --no-audit --no-fund --loglevel=error && touch $@

programs: $(PEERS) $(UNITS) $(BIN) $(if $(filter release,$(BUILD)),$(OUT)/tidegate.so)

test: programs ## run everything: C unit tests and busted specs; the last line counts them
	@$(RUNNER) --jobs=$(JOBS) $(UNITS) spec examples

# Some 80 MB, so apart from the rest; CI runs it.
browser: $(BIN) ## run the specs of spec/browser, in Chromium, which is installed for them
	@$(RUNNER) --verbose spec/browser

check: programs ## run the quick half: unit tests and the specs that need no gateway process
	@$(RUNNER) --jobs=$(JOBS) --quick $(UNITS) spec examples

spec: programs ## run one spec file, folder or unit test: make spec F=spec/support_spec.lua
	@$(RUNNER) --verbose $(if $(filter %.c,$(F)),$(F:%.c=$(OUT)/%),$(or $(F),spec))

# Unit tests that start threads, and specs in which gateway processes run and are told to change.
THREADED = $(filter $(patsubst %.c,$(OUT)/%,$(shell grep -l pthread_ $(UNIT_SRC))),$(UNITS))
THREADED_SPECS := $(wildcard spec/process_spec.lua spec/supervisor_spec.lua spec/examples_spec.lua spec/gateway spec/h2 spec/tls spec/listener spec/reload spec/attacks spec/admin spec/zones spec/upstream spec/websocket/lifecycle_spec.lua)

test-threads: $(PEERS) $(BIN) $(THREADED)
	@$(RUNNER) --jobs=$(JOBS) $(THREADED) $(THREADED_SPECS)

asan: ## build under address and undefined behaviour sanitizers and run both suites
	@$(MAKE) --no-print-directory BUILD=asan test

tsan: ## build under the thread sanitizer and run what has threads: unit tests and gateway specs
	@$(MAKE) --no-print-directory BUILD=tsan test-threads

sweep: ## run the unit tests once for each allocation, with that one failing
	@$(MAKE) --no-print-directory BUILD=asan sweep-units

sweep-units: $(UNITS)
	@$(RUNNER) --jobs=$(JOBS) --timeout=600 --sweep $(UNITS)

fuzz: ## fuzz each target for T seconds (60); F=name picks one of spec/fuzz/name_fuzz.c
	@$(MAKE) --no-print-directory BUILD=fuzz fuzz-targets

fuzz-targets: $(FUZZ_RUN)
	@$(RUNNER) --jobs=$(JOBS) --fuzz=$(T) $(FUZZ_RUN)

cover: ## run both suites in a coverage build and print the line coverage of core/
	@find build/cover -name '*.gcda' -delete 2>/dev/null || true
	@status=0; $(MAKE) --no-print-directory BUILD=cover test || status=$$?; \
	    luajit spec/cover.lua build/cover; exit $$status

LINTS := $(filter-out %/check.lua %/exemptions.lua,$(wildcard spec/lint/*.lua))

lint: ## check layers, sizes, banned functions, repository facts, luacheck, clang-format, clang-tidy
	@TIDY_FLAGS='$(BASE_CFLAGS) -DTG_DEV $(DEP_CFLAGS) -isystem /usr/share/include/llhttp' \
	    $(RUNNER) --jobs=$(JOBS) --timeout=600 $(LINTS)

fmt: ## format all C with clang-format
	@$(if $(C_FILES),clang-format -i $(C_FILES))

readme: ## write the table of limits in README.md anew, from core/base/limits.def
	@LUA_PATH='lua/?.lua;spec/?.lua;;' luajit -e \
	    'local text = require("support.limits_table").readme(); io.open("README.md", "wb"):write(text)'

bench: all $(filter %/script_bench,$(MICROS)) ## measure beside the peers, all in one run; F=name picks figures
	@spec/bench/run $(F)

micro: $(MICROS) ## measure single units beside their peers: a bench line each
	@for program in $(MICROS); do $$program; done

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

clean: ## remove build/
	rm -rf build

FORCE:
.PHONY: all module run programs test browser test-threads check spec asan tsan sweep sweep-units fuzz fuzz-targets cover lint fmt readme bench micro help clean FORCE
