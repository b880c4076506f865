// What the tests of sqlite_store share: their file, SQL on it, and two records.
#pragma once

#include "../conformance/store.hpp"
#include "../support/process.hpp"
#include "paychan/sqlite/store.hpp"

namespace paychan::sqlite_test {

using namespace conformance;
using namespace paychan_test;

/// Runs SQL on a file by a connection that is not the store's.
inline void run_sql(const std::string& path, const std::string& sql) {
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &db) == SQLITE_OK);
    const int code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
    sqlite3_close(db);
    REQUIRE(code == SQLITE_OK);
}

inline constexpr auto kind = record_kind::server_channel;
inline const record_id a = id_of(kind, 1);
inline const record_id b = id_of(kind, 2);

inline bytes content_of(std::uint64_t version) {
    return bytes(300 + version % 5000, static_cast<std::uint8_t>(version));
}

}  // namespace paychan::sqlite_test
