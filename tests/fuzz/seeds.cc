// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
//
// Writes the fuzz targets' first inputs, with the code that writes such bytes in production where there is one:
//   seeds FOLDER        FOLDER/TARGET/NAME, see fuzz.mk
#include <elf.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>
#include <iostream>

#include "src/checkpoint/image_check.h"
#include "src/wire/config.h"
#include "src/wire/control.h"
#include "src/wire/datagram.h"
#include "src/wire/first_bytes.h"
#include "src/wire/frame.h"
#include "src/wire/image.h"
#include "src/wire/image_file.h"
#include "src/wire/msocket.pb.h"
#include "src/wire/mirror_frame.h"

using namespace msocket;
using namespace msocket::wire;

namespace {
std::filesystem::path folder;

void write(const std::string& target, const std::string& name, const std::string& bytes) {
  std::filesystem::create_directories(folder / target);
  std::ofstream(folder / target / name, std::ios::binary) << bytes;
}

template <class T>
std::string raw(const T& object) {
  return std::string(reinterpret_cast<const char*>(&object), sizeof object);
}
std::string byte(int value) { return std::string(1, static_cast<char>(value)); }
std::string u16(size_t value) { return raw(static_cast<uint16_t>(value)); }

void port() {
  Key cluster;
  cluster.fill(7);
  Greeting greeting;
  greeting.nonce.fill(3);
  LinkHello hello;
  hello.tag = make_tag(cluster, bytes_of(greeting), before_tag(hello));
  write("port", "link", byte(0) + raw(hello));
  ConnHeader header{.conn = {1, 2}, .from = {0xf0000001, 1, 0}, .to = {0xf0000002, 2, 0}, .from_gen = 1, .to_gen = 3};
  strcpy(header.job, "1");
  for (auto purpose : {Purpose::kOpen, Purpose::kRedirect, Purpose::kImage, Purpose::kMirror, Purpose::kStandby}) {
    header.preamble.purpose = purpose;
    header.tag = make_tag(job_key(cluster, "1"), bytes_of(greeting), before_tag(header));
    int number = static_cast<int>(purpose);
    std::string body = raw(header).substr(sizeof(Preamble), sizeof header - sizeof(Preamble) - sizeof(Tag));
    write("port", "raw" + std::to_string(number), byte(0) + raw(header));
    write("port", "signed" + std::to_string(number), byte(1) + byte(number - 1) + body);
    write("port", "flipped" + std::to_string(number), byte(2) + u16(100 * number) + byte(number - 1) + body);
  }
  write("port", "answer", byte(3) + raw(greeting) + raw(Answer{.verdict = Verdict::kMoved, .gen = 4}));
}

void link() {
  std::vector<proto::Envelope> all(12);
  for (size_t i = 0; i < all.size(); ++i) all[i].set_id(i + 1);
  proto::AddressInfo address;
  address.set_vip(0xf0000003);
  address.set_generation(2);
  address.set_node("a");
  address.set_job("1");
  auto* node = all[0].mutable_register_node();
  node->mutable_node()->set_name("a");
  node->mutable_node()->set_address("10.0.0.1");
  *node->add_addresses() = address;
  all[1].mutable_new_job()->set_user("ada");
  all[2].mutable_alloc_address()->set_job("1");
  *all[3].mutable_register_address()->mutable_address() = address;
  all[4].mutable_lookup()->set_vip(0xf0000003);
  all[5].mutable_list_nodes();
  all[6].mutable_fence()->set_vip(0xf0000003);
  all[7].mutable_release_address()->set_vip(0xf0000003);
  auto* data = all[8].mutable_stream_data();
  data->set_offset(5);
  data->set_data("later");
  data->set_eof(true);
  all[9].mutable_stream_data()->set_data("first");
  all[10].mutable_stream_ack()->set_offset(7);
  auto* state = all[11].mutable_handover()->add_streams();
  state->set_offset(1000);
  state->set_pending("what was not read");
  std::string together = byte(1);
  for (size_t i = 0; i < all.size(); ++i) {
    std::string bytes = all[i].SerializeAsString(), one = byte(static_cast<int>(i)) + u16(bytes.size()) + bytes;
    write("link", "envelope" + std::to_string(i), byte(1) + one);
    together += one;
  }
  write("link", "all", together);
  write("link", "frame", byte(0) + byte(5) + "error" + raw(uint32_t{40}) + std::string(40, 'x'));
}

void control() {
  std::string all;
  for (int type : {1, 2, 3, 4, 5, 6, 7, 8, 9, 65}) {
    ControlRecord record;
    record.type = static_cast<Control>(type);
    record.local = {0xf0000001, 7, 0};
    strcpy(record.text, "/bin/program");
    std::string one = byte(type == 2) + u16(sizeof record) + raw(record);
    write("control", "record" + std::to_string(type), byte(3) + one);
    all += one;
  }
  write("control", "all", byte(3) + all);
  write("control", "accept", byte(4) + byte(1) + u16(sizeof(AcceptRecord)) + raw(AcceptRecord{.conn = {1, 2}}));
}

void mirror() {
  auto frame = [](Mirror type, uint64_t hi, const std::string& data) {
    return raw(MirrorFrame{.type = type, .conn = {hi, hi * 10}, .len = static_cast<uint32_t>(data.size())}) + data;
  };
  std::string frames = frame(Mirror::kData, 1, "some bytes") + frame(Mirror::kData, 2, "others") +
                       frame(Mirror::kEof, 1, "") + frame(Mirror::kData, 3, "nobody's") + frame(Mirror::kReset, 2, "");
  write("mirror", "drain", byte(0) + u16(65535) + frames);
  write("mirror", "drain-cut", byte(0) + u16(40) + frames.substr(0, 41) + u16(65535) + frames.substr(41));
  auto record = [](Mailbox type, uint64_t hi, const std::string& data) {
    MailboxRecord mail{.type = type, .conn = {hi, hi * 10}};
    return byte(type == Mailbox::kConn) + byte(sizeof mail) + raw(mail) + byte(static_cast<int>(data.size())) + data;
  };
  std::string mail = byte(3) + record(Mailbox::kConn, 1, "from a peer") + record(Mailbox::kConn, 2, "") +
                     record(Mailbox::kGo, 0, "");
  write("mirror", "run", byte(1) + mail + frame(Mirror::kHalfClose, 1, "") + frame(Mirror::kHalfClose, 2, ""));
}

void image() {
  ImageHeader header;
  memset(static_cast<void*>(&header), 0, sizeof header);
  header = {.regions = 3, .context = 0x602100, .tid_field = 0x602000, .thread_list = 0x602200};
  ImageRegion text{.start = 0x400000, .end = 0x402000, .prot = 5, .kind = RegionKind::kFile, .path = "/bin/program"};
  ImageRegion data{.start = 0x602000, .end = 0x604000, .prot = 3, .kind = RegionKind::kAnon};
  ImageRegion stack{.start = 0x7ffe00000000, .end = 0x7ffe00021000, .prot = 3, .kind = RegionKind::kStack};
  ImageStart start{.vdso_start = 0x7ffff7fc0000, .vdso_end = 0x7ffff7fc2000};
  std::string early = raw(ImageRun{ImagePart::kRegion, 0x602000, 0x2000}) + raw(data) +
                      raw(ImageRun{ImagePart::kPages, 0x603000, 4096}) + raw(ImageRun{ImagePart::kDrop, 0x603000, 4096}) + raw(ImageRun{ImagePart::kSync, 1, 0});
  std::string state = raw(ImageRun{ImagePart::kState, 0, 0});
  std::string head = byte(0) + raw(start) + early + state + raw(header) + raw(text) + raw(data) + raw(stack);
  write("image", "image", head + raw(ImageRun{ImagePart::kPages, 0x602000, 4096}) +
        raw(ImageRun{ImagePart::kDrop, 0x7ffe00020000, 4096}) + raw(ImageRun{}));
  write("image", "empty", byte(0) + raw(start) + state + raw(header));
  write("image", "maps", byte(1) + "55d0c8a00000-55d0c8a02000 r--p 00000000 08:01 1234        /usr/bin/cat\n"
        "55d0c9d3b000-55d0c9d5c000 rw-p 00000000 00:00 0                          [heap]\n"
        "7f3a10000000-7f3a10021000 rw-p 00000000 00:00 0 \n"
        "7ffd6b5f2000-7ffd6b5f4000 r-xp 00000000 00:00 0                          [vdso]\n");
}

void text() {
  Config config;
  config.masters.push_back({.address = "10.0.0.1"});
  config.node.name = "a";
  config.node.address = "10.0.0.2";
  write("config", "written", config_to_json(config));
  write("config", "comment", "{ \"key\": \"" + std::string(64, '0') + "\", // ours\n \"masters\": [ { \"subnet\": "
        "\"240.1.0.0/20\", \"address\": \"10.0.0.1\", \"port\": 1 } ], \"node\": { \"name\": \"b\" } }");
  write("config", "subnet", "240.0.0.0/16");
  write("hydra", "words", byte(0) + "-migratable\n-n\n4\n-hosts\na,b:2\n-genv\nA=B\nprogram\nx\n:\n-np=2\nother");
  write("hydra", "configfile", byte(0) + "-configfile\nf\n--launcher\nssh\n-env\nN\nV\n-f=h");
  write("hydra", "hosts", byte(1) + "a:2 # two\nb\n-n 2 program : -host c other\n");
  write("spawn", "spawn", byte(6) + "cmd=init pmi_version=1\nmcmd=spawn\nnprocs=2\nexecname=worker\narg1=x\nargcnt=1\n"
        "info_num=1\ninfo_key_0=path\ninfo_val_0=/opt\nendcmd\ncmd=barrier_in\n");
  write("spawn", "largest", byte(0) + "mcmd=spawn\narg2147483647=x\nargcnt=2147483647\nendcmd\n");
  write("policy", "words", "# a comment\n1:0 c\n1:1 b\n");
  write("policy", "json", "{\"rank\": \"1:2\", \"to\": \"a\"}\n");
  write("policy", "name", "1:3");
}

void image_file() {
  proto::ImageHead head;
  head.set_node("a");
  head.mutable_prepare()->set_program("/bin/program");
  auto block = [](ImageBlock type, const std::string& payload) { return byte(static_cast<int>(type)) + u16(payload.size()) + payload; };
  std::string begin = byte(1) + block(ImageBlock::kHead, head.SerializeAsString()), text(3000, 'x'), packed(4000, 0);
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  write("image_file", "plain", begin + block(ImageBlock::kData, "abc") + block(ImageBlock::kEnd, ""));
  write("image_file", "packed", begin + block(ImageBlock::kPacked, packed) + block(ImageBlock::kEnd, raw(ImageFileEnd{2, text.size()})));
  write("image_file", "no-head", byte(1) + block(ImageBlock::kEnd, ""));
  write("image_file", "as-it-comes", byte(0) + raw(ImageFileStart()) + raw(ImageBlockHeader{ImageBlock::kHead, kImageBlockMost, 0}));
}

// How each is made, see datagram_fuzz.cc: what, source, counter, payload; taken at once (32) or later.
void datagram() {
  auto built = [](int how, int source, int counter, const std::string& payload) {
    return byte(how) + byte(source) + raw(static_cast<int16_t>(counter)) + u16(payload.size()) + payload;
  };
  std::string first = built(1, 0, 1, "hello"), second = built(33, 1, 1, ""), again = byte(3 + 16 + 32) + byte(0);
  write("datagram", "in-order", byte(0) + first + second + built(33, 0, 2, "world") + again);
  write("datagram", "late", byte(0) + built(33, 0, 5000, "new") + built(33, 0, 905, "late") + built(33, 0, 904, "too late"));
  write("datagram", "connected", byte(1) + first + second + built(49, 0, 9, std::string(1500, 'x')));
  write("datagram", "elsewhere", byte(0) + byte(5) + byte(0) + byte(8) + raw(int16_t{3}) + u16(2) + "no");
  write("datagram", "flipped", byte(0) + byte(2 + 32) + byte(0) + raw(int16_t{3}) + u16(4) + "data" + u16(58) + byte(4));
  write("datagram", "raw", byte(0) + byte(32) + u16(sizeof(DatagramHeader)) + raw(DatagramHeader()) + byte(0) + u16(0));
}

void look() {
  write("look", "all", "no descriptor 7 is socket:[1], a plain socket\nfile 100002 40 /tmp/a file\npages 8192 12\n"
        "peer 4026531841 0\npeer 4026531842 1\n");
  write("look", "odd", "file 9 x\npages -1\n\nno\npeer 1 7 7\nfile 0 18446744073709551615 /x");
}

void build_id() {
  struct {
    Elf64_Ehdr head{};
    Elf64_Phdr segment{};
    Elf64_Nhdr other{.n_namesz = 3, .n_descsz = 1, .n_type = 1};
    char other_bytes[8] = "xy";
    Elf64_Nhdr note{.n_namesz = 4, .n_descsz = 20, .n_type = NT_GNU_BUILD_ID};
    char bytes[24] = "GNU";
  } file;
  memcpy(file.head.e_ident, ELFMAG, SELFMAG);
  file.head.e_ident[EI_CLASS] = ELFCLASS64;
  file.head.e_phoff = sizeof file.head;
  file.head.e_phnum = 1;
  file.segment.p_type = PT_NOTE;
  file.segment.p_offset = sizeof file.head + sizeof file.segment;
  file.segment.p_filesz = sizeof file - file.segment.p_offset;
  write("build_id", "elf", raw(file));
  file.note.n_descsz = 0xffffffff;
  write("build_id", "long-note", raw(file));
  file.head.e_phoff = ~0ull - 8;
  write("build_id", "far-table", raw(file));
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: seeds FOLDER\n", 2;
  folder = argv[1];
  auth_init();
  port();
  link();
  control();
  mirror();
  image();
  text();
  image_file();
  build_id();
  datagram();
  look();
}
