// The seed file: made once, private, and read back.
#include "paychan/memory/seed.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

using namespace paychan;

namespace {

struct folder {
    std::filesystem::path path;
    folder() {
        std::string name = (std::filesystem::temp_directory_path() / "paychan-seed-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    folder(const folder&) = delete;
    folder& operator=(const folder&) = delete;
    ~folder() { std::filesystem::remove_all(path); }
    [[nodiscard]] std::string file(const char* name) const { return (path / name).string(); }
};

void write_private(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
    REQUIRE(::chmod(path.c_str(), 0600) == 0);
}

constexpr const char* seed_digits = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

}  // namespace

TEST_CASE("a seed that was made is read back", "[memory][seed]") {
    const folder f;
    const auto made = create_seed(f.file("seed"));
    REQUIRE(made);
    const auto loaded = load_seed(f.file("seed"));
    REQUIRE(loaded);
    CHECK(loaded->reveal() == made->reveal());
    struct stat about {};
    REQUIRE(::stat(f.file("seed").c_str(), &about) == 0);
    CHECK((about.st_mode & 0777) == 0600);
    const auto other = create_seed(f.file("other"));
    REQUIRE(other);
    CHECK(other->reveal() != made->reveal());
}

TEST_CASE("a seed file is never overwritten", "[memory][seed]") {
    const folder f;
    write_private(f.file("seed"), std::string(seed_digits) + "\n");
    const auto made = create_seed(f.file("seed"));
    REQUIRE_FALSE(made);
    CHECK(made.error().code == errc::invalid_argument);
    const auto loaded = load_seed(f.file("seed"));
    REQUIRE(loaded);
    for (std::uint8_t i = 0; i < 32; ++i) CHECK(loaded->reveal()[i] == i);
}

TEST_CASE("a seed file that others can read is refused with the command that repairs it", "[memory][seed]") {
    const folder f;
    write_private(f.file("seed"), seed_digits);
    for (const ::mode_t mode : {0640u, 0604u, 0620u, 0666u}) {
        REQUIRE(::chmod(f.file("seed").c_str(), mode) == 0);
        const auto loaded = load_seed(f.file("seed"));
        REQUIRE_FALSE(loaded);
        CHECK(loaded.error().code == errc::invalid_argument);
        CHECK(loaded.error().text.find("chmod 600 FILE") != std::string_view::npos);
    }
    REQUIRE(::chmod(f.file("seed").c_str(), 0400) == 0);
    CHECK(load_seed(f.file("seed")));
}

TEST_CASE("what is not a seed file is refused", "[memory][seed]") {
    const folder f;
    CHECK(load_seed(f.file("absent")).error().code == errc::not_found);
    CHECK(load_seed(f.path.string()).error().code == errc::invalid_argument);
    REQUIRE(::mkfifo(f.file("fifo").c_str(), 0600) == 0);
    CHECK(load_seed(f.file("fifo")).error().code == errc::invalid_argument);
    const std::string good = seed_digits;
    for (const std::string& text :
         {std::string(), good.substr(1), good + "0", good + good, "g" + good.substr(1), " " + good}) {
        write_private(f.file("seed"), text);
        const auto loaded = load_seed(f.file("seed"));
        REQUIRE_FALSE(loaded);
        CHECK(loaded.error().code == errc::malformed);
    }
}

TEST_CASE("a seed cannot be made in a folder that is not there", "[memory][seed]") {
    const folder f;
    CHECK(create_seed(f.file("no/such/seed")).error().code == errc::store_failed);
}
