// A file system in memory, under the real file_store: when the power fails, what was not synced is lost or torn.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "simulation/random.hpp"
#include "simulation/truth.hpp"

namespace simulation {

/// One folder on one disk.  file_system.cpp stands before libc's functions, and sends here what a store does in PATH.
class file_system {
public:
    /// What the simulation may do to an operation that changes something: it goes well, fails, fails though it was done,
    /// or the process dies before or after it.
    enum class fate : std::uint8_t { goes_well, fails, fails_after, dies_before, dies_after };

    file_system(std::uint8_t number, std::uint64_t seed);
    ~file_system();
    file_system(const file_system&) = delete;
    file_system& operator=(const file_system&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }

    /// The process that used the disk is gone, and perhaps the power with it: names that were not synced are there or
    /// not, files that were not synced are old, new, or torn.
    struct damage {
        std::uint32_t lost = 0;  // changes of names
        std::uint32_t torn = 0;  // files
    };
    damage crash();
    /// Everything is lost.
    void wipe();

    std::function<fate()> next;  ///< asked before each operation that changes something
    bool full = false;
    bool dead = false;  ///< the process died in the middle of an operation: nothing that it does has an effect any more

    // ---- what the functions of file_system.cpp use

    struct file {
        std::uint64_t number = 0;
        byte_string now;
        byte_string synced;
        bool sync_lost = false;  // a sync failed: what was written then never gets to the disk, whatever is said later
    };
    using names = std::map<std::string, std::shared_ptr<file>>;

    [[nodiscard]] std::shared_ptr<file> find(const std::string& name) const;
    [[nodiscard]] std::shared_ptr<file> make(const std::string& name);
    [[nodiscard]] const names& listed() const { return now_; }
    [[nodiscard]] int write(file& f, const std::uint8_t* bytes, std::size_t size);  ///< how many, or -errno
    [[nodiscard]] int sync(file& f);                                                ///< 0 or -errno, and so below
    [[nodiscard]] int sync_names();
    [[nodiscard]] int rename(const std::string& from, const std::string& to);
    [[nodiscard]] int unlink(const std::string& name);

private:
    struct change {
        std::string name;
        std::shared_ptr<file> to;  // nothing: deleted
    };
    template <class F>
    [[nodiscard]] int operation(F&& f);
    void set(const std::string& name, std::shared_ptr<file> to);

    std::string path_;
    random dice_;
    std::uint32_t bad_spell_ = 0;  // [operations] that still fail after one that was struck
    names now_;
    names synced_;
    std::vector<change> unsynced_;
    std::uint64_t last_number_ = 0;
};

}  // namespace simulation
