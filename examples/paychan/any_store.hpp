// The store that `--store` names, chosen when the program starts.
#pragma once

#include <string>

#include "options.hpp"
#include "paychan/keeper/one_of_stores.hpp"
#include "paychan/memory/file_store.hpp"
#include "paychan/monitor/stored_channels.hpp"
#include "paychan/postgres/store.hpp"
#include "paychan/sqlite/store.hpp"

namespace tool {

struct any_store : one_of_stores<sqlite_store, file_store, postgres_store> {
    /// option  sqlite:FILE, file:FOLDER or postgres:CONNECTION
    /// Throws  usage_error (it is none of these; no store is there, or another program's), store_away, run_error (damaged).
    any_store(const std::string& option, store_access access);
};

static_assert(BatchStore<any_store> && ScanStore<any_store>);

/// Ends the program in one line.  A store that is away may be there later; what is damaged stays so.
[[noreturn]] inline void throw_store(const error& e, const std::string& why) {
    if (e.code == errc::store_failed) throw store_away{{"--store: " + why}};
    throw run_error{"--store: " + why};
}

/// What the store gave.  Throws  store_away, run_error.
template <class T, class S>
[[nodiscard]] T need_stored(result<T> r, const S& store) {
    if (!r) throw_store(r.error(), store.last_error());
    return *std::move(r);
}

}  // namespace tool
