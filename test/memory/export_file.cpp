// Export files in a folder, and the store that writes them before it takes a channel that opens.
#include "paychan/memory/export_file.hpp"

#include <catch2/catch.hpp>

#include "support/process.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

/// A channel that opens: the batch that a client gives its store before the contract leaves.
struct opening : world {
    txid id;
    bytes record, contract, refund;
    std::vector<put_request> batch;

    opening() : world(2) {
        REQUIRE(open());
        id = channel();
        channel_record first = load_record(payer.disk, record_kind::client_channel, id).value();
        first.version = 1;  // since then it was opened
        record = owned(write_record(first).view());
        contract = stored_bytes(payer.disk, record_kind::client_contract, id);
        refund = stored_bytes(payer.disk, record_kind::client_refund, id);
        batch = {{{record_kind::client_contract, id}, 1, contract},
                 {{record_kind::client_refund, id}, 1, refund},
                 {{record_kind::client_channel, id}, 1, record}};
    }
};

/// Looks at a file whenever it is written to.
struct watching_store : memory_store {
    std::string file;
    std::vector<bool> was_there;
    result<void> answer{};
    [[nodiscard]] result<void> put_many(std::span<const put_request> batch) {
        was_there.push_back(fs::exists(file));
        if (!answer) return answer;
        return memory_store::put_many(batch);
    }
    [[nodiscard]] std::string last_error() const { return "the store's own words"; }
};

}  // namespace

TEST_CASE("a channel that opens is in a file of its own before the store has it", "[memory][export]") {
    opening w;
    const temporary_folder folder;
    const std::string exports = folder.file("exports");
    watching_store inner;
    inner.file = exports + "/" + export_file_name(channel_role::client, w.id);
    exporting_store store(inner, network::regtest, exports);
    REQUIRE(store.put_many(w.batch));
    CHECK(inner.was_there == std::vector{true});
    CHECK(mode_of(exports) == 0700);
    CHECK(mode_of(inner.file) == 0600);
    CHECK(stored_bytes(inner, record_kind::client_channel, w.id) == w.record);

    std::string why;
    const auto file = load_export(inner.file, why);
    REQUIRE(file);
    const auto read = read_export(*file);
    REQUIRE(read);
    CHECK(check_export<both_versions>(*read));
    CHECK(equal(read->contract, w.contract));
    CHECK(equal(read->refund, w.refund));
    CHECK(equal(write_record(read->record).view(), w.record));

    // Payments do not touch it.
    const auto before = fs::last_write_time(inner.file);
    channel_record paid = read_record(w.record).value();
    ++paid.version;
    const auto bytes_of_it = write_record(paid);
    REQUIRE(store.put({record_kind::client_channel, w.id}, paid.version, bytes_of_it.view()));
    CHECK(fs::last_write_time(inner.file) == before);
}

TEST_CASE("without its file a channel does not open, and the store has nothing of it", "[memory][export]") {
    opening w;
    const temporary_folder folder;
    write_file(folder.file("plain"), "");
    for (const std::string& impossible : {folder.file("plain"), folder.file("missing") + "/below"}) {
        watching_store inner;
        exporting_store store(inner, network::regtest, impossible);
        const auto refused = store.put_many(w.batch);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == errc::store_failed);
        CHECK(store.last_error().find(impossible) == 0);
        CHECK(inner.was_there.empty());
    }
}

namespace {
/// A store that can tell of others' writes, and cannot scan.
struct telling_store {
    memory_store records;
    std::uint64_t others = 0;
    result<void> put(const record_id& id, std::uint64_t v, bytes_view b) { return records.put(id, v, b); }
    result<void> put_many(std::span<const put_request> batch) { return records.put_many(batch); }
    result<stored_record> get(const record_id& id, bytes_span memory) { return records.get(id, memory); }
    result<void> erase(const record_id& id) { return records.erase(id); }
    template <class F>
    result<void> list(record_kind kind, F&& f) {
        return records.list(kind, f);
    }
    std::uint64_t foreign_writes() { return ++others; }
};
template <class S>
constexpr bool tells_foreign_writes = requires(S& s) {
    s.foreign_writes();
};
}  // namespace

TEST_CASE("exporting_store scans, and tells of others' writes, where the store below it does", "[memory][export]") {
    using over_memory = exporting_store<watching_store>;
    using over_telling = exporting_store<telling_store>;
    static_assert(ScanStore<over_memory> && !tells_foreign_writes<over_memory>);
    static_assert(!ScanStore<over_telling> && tells_foreign_writes<over_telling>);
    opening w;
    watching_store inner;
    exporting_store store(inner, network::regtest, "");
    REQUIRE(store.put_many(w.batch));
    std::vector<record_id> told;
    REQUIRE(store.scan(record_kind::client_channel, {}, [&](const record_id& id, const result<stored_record>& r) {
        REQUIRE(r);
        CHECK(equal(r->bytes, w.record));
        told.push_back(id);
        return true;
    }));
    CHECK(told == std::vector{record_id{record_kind::client_channel, w.id}});
    telling_store below;
    over_telling above(below, network::regtest, "");
    CHECK(above.foreign_writes() != above.foreign_writes());
}

TEST_CASE("a store that refuses a channel once may take it when it is offered again", "[memory][export]") {
    opening w;
    const temporary_folder folder;
    watching_store inner;
    inner.answer = fail(errc::store_failed, "full");
    exporting_store store(inner, network::regtest, folder.file("exports"));
    CHECK_FALSE(store.put_many(w.batch));
    CHECK(store.last_error() == "the store's own words");
    inner.answer = {};
    CHECK(store.put_many(w.batch));
}

TEST_CASE("a file of a newer record is left alone, a damaged one is replaced", "[memory][export]") {
    opening w;
    const temporary_folder folder;
    std::string why;
    channel_export e{network::regtest, channel_role::client, read_record(w.record).value(), w.contract, w.refund};
    e.record.version = 7;
    REQUIRE(save_export(folder.path.string(), e, why));
    for (const std::uint64_t version : {7U, 6U}) {
        e.record.version = version;
        const auto refused = save_export(folder.path.string(), e, why);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == errc::stale_record);
    }
    e.record.version = 8;
    CHECK(save_export(folder.path.string(), e, why));
    write_file(folder.file(export_file_name(channel_role::client, w.id)), "damaged");
    e.record.version = 1;
    CHECK(save_export(folder.path.string(), e, why));
    const auto file = load_export(folder.file(export_file_name(channel_role::client, w.id)), why);
    REQUIRE(file);
    CHECK(read_export(*file)->record.version == 1);
}

namespace {

channel_export export_of(const opening& w) {
    return {network::regtest, channel_role::client, read_record(w.record).value(), w.contract, w.refund};
}

/// What stands in a file.
channel_record record_in(const std::string& path, bytes& memory) {
    std::string why;
    memory = load_export(path, why).value();
    return read_export(memory).value().record;
}

/// A store with both sides of a channel: a node that pays itself, or two whose stores are one database.
memory_store both_sides(opening& w) {
    memory_store out;
    REQUIRE(out.put_many(w.batch));
    channel_record record = load_record(w.payee.disk, record_kind::server_channel, w.id).value();
    record.version = 1;
    REQUIRE(out.put({record_kind::server_contract, w.id}, 1, w.contract));
    REQUIRE(out.put({record_kind::server_channel, w.id}, 1, write_record(record).view()));
    return out;
}

}  // namespace

TEST_CASE("both sides of a channel have a file each, in one folder", "[memory][export]") {
    opening w;
    const temporary_folder folder;
    memory_store store = both_sides(w);
    std::string why;
    for (const auto role : {channel_role::client, channel_role::server})
        REQUIRE(export_channel<both_versions>(store, role, w.id, network::regtest, folder.path.string(), why));
    const auto hex = display(w.id);
    const std::string txid(hex.data(), hex.size());
    CHECK(names_in(folder.path) == std::set<std::string>{txid + ".client.channel", txid + ".server.channel"});
    for (const auto role : {channel_role::client, channel_role::server}) {
        const auto bytes_of_it = load_export(folder.file(export_file_name(role, w.id)), why).value();
        CHECK(read_export(bytes_of_it)->role == role);
    }
}

TEST_CASE("a file of a store that began anew is replaced by what was paid more, and by nothing less",
          "[memory][export]") {
    opening w;
    const temporary_folder folder;
    const std::string path = folder.file(export_file_name(channel_role::client, w.id));
    bytes memory;
    std::string why;
    channel_export e = export_of(w);
    e.record.version = 30;
    REQUIRE(save_export(folder.path.string(), e, why));
    REQUIRE(w.pays(1'000));
    e.record = load_record(w.payer.disk, record_kind::client_channel, w.id).value();
    e.record.version = 5;
    REQUIRE(save_export(folder.path.string(), e, why));
    CHECK(record_in(path, memory).version == 5);
    e.record = read_record(w.record).value();
    e.record.version = 31;
    CHECK(save_export(folder.path.string(), e, why).error().code == errc::stale_record);
    CHECK(record_in(path, memory).version == 5);
}

TEST_CASE("a damaged store does not replace the file of its better days", "[memory][export]") {
    opening w;
    const temporary_folder folder;
    const std::string path = folder.file(export_file_name(channel_role::client, w.id));
    memory_store store = both_sides(w);
    std::string why;
    const auto export_it = [&] {
        return export_channel<both_versions>(store, channel_role::client, w.id, network::regtest, folder.path.string(),
                                             why);
    };
    REQUIRE(export_it());
    bytes before, after;
    (void)record_in(path, before);
    channel_record newer = read_record(w.record).value();
    newer.version = 2;
    REQUIRE(store.put({record_kind::client_channel, w.id}, 2, write_record(newer).view()));

    errc expected{};
    SECTION("its refund is zeros") {
        expected = errc::malformed;
        REQUIRE(store.put({record_kind::client_refund, w.id}, 2, bytes(w.refund.size(), 0)));
    }
    SECTION("its refund is gone") {
        expected = errc::not_found;
        REQUIRE(store.erase({record_kind::client_refund, w.id}));
    }
    SECTION("a signature in its refund is damaged") {
        expected = errc::bad_transaction;
        bytes refund = w.refund;
        refund[60] ^= 1;
        REQUIRE(store.put({record_kind::client_refund, w.id}, 2, refund));
    }
    SECTION("its contract is another") {
        expected = errc::corrupt_record;
        bytes contract = w.contract;
        contract.back() ^= 1;  // of its lock_time
        REQUIRE(store.put({record_kind::client_contract, w.id}, 2, contract));
    }
    SECTION("its payment is not signed") {
        expected = errc::bad_transaction;
        newer.version = 3;
        newer.change.value -= 1'000;
        REQUIRE(store.put({record_kind::client_channel, w.id}, 3, write_record(newer).view()));
    }
    const auto refused = export_it();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == expected);
    const auto hex = display(w.id);
    CHECK(why.find(std::string_view(hex.data(), hex.size())) != std::string::npos);
    (void)record_in(path, after);
    CHECK(before == after);
}

TEST_CASE("a file with another refund than the checked one is replaced, however new it says it is",
          "[memory][export]") {
    opening w;
    const temporary_folder folder;
    channel_export e = export_of(w);
    e.record.version = 9;
    bytes refund = w.refund;
    refund[60] ^= 1;
    e.refund = refund;
    std::string why;
    REQUIRE(save_export(folder.path.string(), e, why));  // what an older paychan wrote without a look at it
    memory_store store = both_sides(w);
    REQUIRE(
        export_channel<both_versions>(store, channel_role::client, w.id, network::regtest, folder.path.string(), why));
    const auto file = load_export(folder.file(export_file_name(channel_role::client, w.id)), why).value();
    CHECK(check_export<both_versions>(read_export(file).value()));
}

TEST_CASE("the file of a newer paychan, or of another network, is left alone", "[memory][export]") {
    opening w;
    const temporary_folder folder;
    const std::string path = folder.file(export_file_name(channel_role::client, w.id));
    channel_export e = export_of(w);
    std::string why;
    errc expected{};
    bytes there(max_export_size);
    SECTION("format 2, which may be longer than any of ours") {
        expected = errc::unknown_format;
        there = owned(write_export(e, there).value());
        there[4] = export_format + 1;
        there.resize(GENERATE(std::size_t{1'000}, std::size_t{100'000}));
        const bytes32 sum = sha256(bytes_view(there).first(there.size() - 32));
        std::copy(sum.begin(), sum.end(), there.end() - 32);
    }
    SECTION("another network") {
        expected = errc::invalid_argument;
        e.net = network::testnet;
        there = owned(write_export(e, there).value());
        e.net = network::regtest;
    }
    write_file(path, {there.begin(), there.end()});
    e.record.version += 10;
    const auto refused = save_export(folder.path.string(), e, why);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == expected);
    CHECK(why.find(path) == 0);
    CHECK(read_file(path) == there);
}

TEST_CASE("several processes write into one folder: each is content, and the newest record is left",
          "[memory][export]") {
    opening w;
    constexpr std::uint64_t writers = 4, rounds = 25;
    for (std::uint64_t round = 0; round < rounds; ++round) {
        const temporary_folder folder;
        const std::string exports = folder.file("exports");
        std::vector<std::unique_ptr<child>> processes;
        for (std::uint64_t n = 0; n < writers; ++n)
            processes.push_back(std::make_unique<child>([&, n](int channel) {
                char go = 0;
                if (::read(channel, &go, 1) != 1) ::_exit(2);  // all begin together
                std::string why;
                channel_export e = export_of(w);
                for (std::uint64_t i = 0; i < 5; ++i) {
                    e.record.version = 1 + (i + n) % writers + i;
                    const auto saved = save_export(exports, e, why);
                    if (!saved && saved.error().code != errc::stale_record) ::_exit(1);
                }
                ::_exit(0);
            }));
        for (const auto& p : processes) REQUIRE(::write(p->channel, "g", 1) == 1);
        for (const auto& p : processes) REQUIRE(p->end() == 0);
        bytes memory;
        REQUIRE(record_in(exports + "/" + export_file_name(channel_role::client, w.id), memory).version == 8);
        REQUIRE(names_in(exports).size() == 1);
    }
}

namespace {

/// Files as a killed writer leaves them, and others; all but `fresh` are an hour old.
struct littered_folder : temporary_folder {
    std::set<std::string> litter, others;
    std::string fresh;

    explicit littered_folder(const opening& w) {
        const auto hex = display(w.id);
        const std::string name(hex.data(), hex.size()), end = ".0123456789abcdef.new";
        litter = {name + ".client.channel" + end, name + ".server.channel" + end, name + ".channel" + end};
        for (const auto role : {channel_role::client, channel_role::server})  // as they are called now
            litter.insert(detail::unfinished_name(export_file_name(role, w.id)).value());
        others = {name + ".client.channel.old",
                  name + ".client.channel.0123456789abcdeg.new",
                  name + ".client.channel.0123456789abcde.new",
                  name + ".client.channel.new",
                  name + ".other.channel" + end,
                  "0" + name + ".channel" + end,
                  name.substr(1) + ".channel" + end,
                  end,
                  "notes.new"};
        fresh = name + ".server.channel.fedcba9876543210.new";
        for (const auto& names : {litter, others})
            for (const std::string& n : names) {
                write_file(file(n), "begun");
                fs::last_write_time(file(n), fs::file_time_type::clock::now() - std::chrono::hours(1));
            }
        write_file(file(fresh), "begun");
        others.insert(fresh);
    }
};

}  // namespace

TEST_CASE("what killed writers of export files left is removed, and nothing else", "[memory][export]") {
    opening w;
    const littered_folder folder(w);
    remove_unfinished_exports(folder.path.string());
    CHECK(names_in(folder.path) == folder.others);
    remove_unfinished_exports(folder.file("none"));  // as before the first export
}

TEST_CASE("while another process writes into the folder, unfinished files stay: one may be its own",
          "[memory][export]") {
    opening w;
    const littered_folder folder(w);
    const auto before = names_in(folder.path);
    {
        const detail::open_file other(::open(folder.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        REQUIRE(::flock(other.get(), LOCK_EX) == 0);
        remove_unfinished_exports(folder.path.string());
        CHECK(names_in(folder.path) == before);
    }
    remove_unfinished_exports(folder.path.string());
    CHECK(names_in(folder.path) == folder.others);
}

TEST_CASE("a channel that opens clears away what killed writers left beside its file", "[memory][export]") {
    opening w;
    const littered_folder folder(w);
    memory_store inner;
    exporting_store store(inner, network::regtest, folder.path.string());
    REQUIRE(store.put({record_kind::chain_position, {}}, 1, as_bytes("1")));
    CHECK(names_in(folder.path).size() == folder.litter.size() + folder.others.size());
    REQUIRE(store.put_many(w.batch));
    auto expected = folder.others;
    expected.insert(export_file_name(channel_role::client, w.id));
    CHECK(names_in(folder.path) == expected);
}

TEST_CASE("a file that cannot be read is not replaced", "[memory][export]") {
    opening w;
    const temporary_folder folder;
    const std::string path = folder.file(export_file_name(channel_role::client, w.id));
    write_file(path, "whose?");
    const without_privileges nobody(folder.path);
    fs::permissions(path, fs::perms::none);
    std::string why;
    CHECK(save_export(folder.path.string(), export_of(w), why).error().code == errc::store_failed);
    fs::permissions(path, fs::perms::owner_all);
    CHECK(read_file(path) == owned(as_bytes("whose?")));
}

TEST_CASE("an export file that is no file, or longer than any, is refused by name", "[memory][export]") {
    const temporary_folder folder;
    write_file(folder.file("long"), std::string(max_export_size + 1, 'x'));
    fs::create_symlink(folder.file("long"), folder.file("link"));
    REQUIRE(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
    for (const char* name : {"long", "link", "pipe", "."}) {
        std::string why;
        const auto read = load_export(folder.file(name), why);
        CAPTURE(name, why);
        REQUIRE_FALSE(read);
        CHECK(read.error().code == errc::corrupt_record);
        CHECK(why.find(folder.file(name)) == 0);
    }
    std::string why;
    CHECK(load_export(folder.file("none"), why).error().code == errc::not_found);
}
