# SPDX-FileCopyrightText: 2026 The msocket authors
# SPDX-License-Identifier: MIT
#
# The fuzz targets: one per parser of bytes from outside, each with the production sources that it calls. A new parser gets a line
# here, tests/fuzz/NAME_fuzz.cc, and seeds (seeds.cc, corpus/NAME). tests/fuzz_test builds and runs them:
#
#   make -f tests/fuzz/fuzz.mk OUT=DIR          in the checkout: the targets, and `planted`, which must crash
#   make -f tests/fuzz/fuzz.mk OUT=DIR seeds    writes tests/fuzz/corpus anew
#
# Not by automake: other compiler, other flags. CLANG=clang++-14 may be another one that has libFuzzer.

targets = port link control mirror image image_file config hydra spawn policy build_id datagram look

wire = src/wire/stranger.cc src/wire/auth.cc
port_sources     = src/wire/first_bytes.cc $(wire)
link_sources     = src/wire/frame.cc $(wire) src/wire/streams.cc src/daemons/registry.cc src/daemons/address_table.cc \
                   src/util/text.cc msocket.pb.cc
control_sources  = src/daemons/record_check.cc src/transport/channel.cc src/transport/raw.cc
mirror_sources   = src/mirror/mirror.cc $(transport)
image_sources    =
image_file_sources = src/wire/image_file.cc msocket.pb.cc
config_sources   = src/wire/config.cc src/wire/auth.cc
hydra_sources    = src/tools/hydra_args.cc
spawn_sources    = src/tools/pmi_spawn.cc
policy_sources   = src/tools/policy.cc src/tools/names.cc msocket.pb.cc
build_id_sources = src/util/build_id.cc
datagram_sources = $(transport)
look_sources     = src/daemons/look_report.cc msocket.pb.cc
seeds_sources    = $(port_sources) src/wire/frame.cc src/wire/config.cc msocket.pb.cc

# The mirror's other end is in the library: all of transport, of which the target calls drain.cc.
transport = $(wildcard src/transport/*.cc) src/transport/stub.S
# No name server is asked.
config_link = -Wl,--wrap=getaddrinfo

OUT ?= build/fuzz
CLANG ?= clang++-14
launcher := $(shell command -v ccache)
packages = protobuf libsodium libzstd spdlog
flags := -std=c++20 -O1 -g1 -Wall -Wno-register -Wno-unused-command-line-argument -D_GLIBCXX_ASSERTIONS -I. -I$(OUT) \
         $(shell pkg-config --cflags $(packages)) -fsanitize=address,undefined -fno-sanitize-recover=undefined \
         -fno-omit-frame-pointer -MMD -MP
libraries := $(shell pkg-config --libs $(packages))

objects = $(patsubst %,$(OUT)/%.o,$(basename $(1)))

all: $(targets:%=$(OUT)/%_fuzz) $(OUT)/planted_fuzz
list:
	@echo $(targets)
seeds: $(OUT)/seeds
	$(OUT)/seeds tests/fuzz/corpus
.PHONY: all list seeds

define target
$(OUT)/$(1)_fuzz: $(OUT)/tests/fuzz/$(1)_fuzz.o $(call objects,$($(1)_sources))
	$(CLANG) -fsanitize=fuzzer,address,undefined -o $$@ $$^ $($(1)_link) $(libraries)
endef
$(foreach t,$(targets),$(eval $(call target,$(t))))

$(OUT)/planted_fuzz: $(OUT)/planted.o $(call objects,$(port_sources))
	$(CLANG) -fsanitize=fuzzer,address,undefined -o $@ $^ $(libraries)
$(OUT)/planted.o: tests/fuzz/port_fuzz.cc | $(OUT)/src/wire/msocket.pb.h
	@mkdir -p $(@D)
	$(launcher) $(CLANG) $(flags) -fsanitize=fuzzer-no-link -DMSOCKET_PLANT_CRASH -c -o $@ $<
$(OUT)/seeds: $(OUT)/tests/fuzz/seeds.o $(call objects,$(seeds_sources))
	$(CLANG) -fsanitize=address,undefined -o $@ $^ $(libraries)

$(OUT)/src/wire/msocket.pb.h: src/wire/msocket.proto
	@mkdir -p $(@D)
	protoc --cpp_out=$(OUT) $<
$(OUT)/msocket.pb.o: $(OUT)/src/wire/msocket.pb.h
	$(launcher) $(CLANG) $(flags) -fsanitize=fuzzer-no-link -c -o $@ $(OUT)/src/wire/msocket.pb.cc
$(OUT)/%.o: %.cc | $(OUT)/src/wire/msocket.pb.h
	@mkdir -p $(@D)
	$(launcher) $(CLANG) $(flags) -fsanitize=fuzzer-no-link -c -o $@ $<
$(OUT)/%.o: %.S
	@mkdir -p $(@D)
	$(CLANG) -I. -c -o $@ $<

.SECONDARY:
-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
