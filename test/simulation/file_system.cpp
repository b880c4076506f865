// The file system, and the functions before libc's through which file_store comes to it.
#include "simulation/file_system.hpp"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <cstring>

namespace simulation {

namespace {

constexpr std::string_view mount = "/paychan-simulation/disk-";
std::array<file_system*, 16> mounted{};

/// The disk that a path names, and the name in its folder; nothing for paths of the real file system.
file_system* disk_at(std::string_view path) {
    if (!path.starts_with(mount) || path.size() != mount.size() + 1) return nullptr;
    return mounted.at(static_cast<std::size_t>(path.back() - 'a'));
}

/// What an open descriptor stands for; no file: the folder.
struct opened {
    file_system* disk = nullptr;
    std::shared_ptr<file_system::file> what;
    std::size_t at = 0;
    bool folder = false;
};
constexpr int first_descriptor = 1 << 20;  // the kernel gives none so high
std::vector<opened> descriptors;

opened* opened_at(int descriptor) {
    if (descriptor < first_descriptor) return nullptr;
    return &descriptors[static_cast<std::size_t>(descriptor - first_descriptor)];
}

int describe(opened o) {
    for (std::size_t i = 0; i < descriptors.size(); ++i)
        if (descriptors[i].disk == nullptr) {
            descriptors[i] = std::move(o);
            return first_descriptor + static_cast<int>(i);
        }
    descriptors.push_back(std::move(o));
    return first_descriptor + static_cast<int>(descriptors.size()) - 1;
}

int failed(int error) {
    errno = error;
    return -1;
}
int done(int outcome) { return outcome < 0 ? failed(-outcome) : outcome; }

int open_in(file_system& disk, const std::string& name, int flags) {
    if (name == "." || name == "..") return describe({&disk, nullptr, 0, true});
    auto found = disk.find(name);
    if (!found && (flags & O_CREAT) == 0) return failed(ENOENT);
    if (!found) found = disk.make(name);
    if (!found) return failed(EIO);
    if ((flags & O_TRUNC) != 0 && !disk.dead) {
        found->now.clear();
        found->sync_lost = false;  // all of it is written anew
    }
    return describe({&disk, found, 0, false});
}

void describe(const opened& o, struct stat& about) {
    about = {};
    about.st_dev = 1;
    about.st_mode = o.folder ? S_IFDIR | 0700 : S_IFREG | 0600;
    about.st_ino = o.folder ? 1 : o.what->number;
    about.st_size = o.folder ? 0 : static_cast<off_t>(o.what->now.size());
}

struct listing {
    std::vector<std::string> names;
    std::size_t at = 0;
    int descriptor = 0;
    struct dirent one {};
};
std::vector<std::unique_ptr<listing>> listings;

template <class F>
F* libc(const char* name) {
    return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

file_system::file_system(std::uint8_t number, std::uint64_t seed)
    : path_(std::string(mount) + static_cast<char>('a' + number)), dice_(seed * 16 + number) {
    mounted.at(number) = this;
}

file_system::~file_system() {
    for (auto& m : mounted)
        if (m == this) m = nullptr;
}

/// Does what changes something, unless it is struck.
template <class F>
int file_system::operation(F&& f) {
    if (dead) return -EIO;
    fate how = next ? next() : fate::goes_well;
    if (how == fate::fails) {
        bad_spell_ = dice_.below(3);
    } else if (how == fate::goes_well && bad_spell_ > 0) {
        --bad_spell_;
        how = fate::fails;
    }
    if (how == fate::dies_before) dead = true;
    if (how == fate::fails) return -EIO;
    if (dead) return -EIO;
    const int outcome = f();
    if (how == fate::dies_after) dead = true;
    return how == fate::goes_well ? outcome : -EIO;
}

void file_system::set(const std::string& name, std::shared_ptr<file> to) {
    unsynced_.push_back({name, to});
    if (to)
        now_[name] = std::move(to);
    else
        now_.erase(name);
}

std::shared_ptr<file_system::file> file_system::find(const std::string& name) const {
    const auto found = now_.find(name);
    return found == now_.end() ? nullptr : found->second;
}

std::shared_ptr<file_system::file> file_system::make(const std::string& name) {
    auto made = std::make_shared<file>();
    made->number = ++last_number_ + 1;
    const int outcome = operation([&] {
        set(name, made);
        return 0;
    });
    return outcome == 0 ? made : nullptr;
}

int file_system::write(file& f, const std::uint8_t* bytes, std::size_t size) {
    return operation([&] {
        const std::size_t fits = full ? size / 2 : size;  // a full disk takes some
        f.now.insert(f.now.end(), bytes, bytes + fits);
        if (full && fits == 0) return -ENOSPC;
        return static_cast<int>(fits);
    });
}

int file_system::sync(file& f) {
    bool began = false;
    const int outcome = operation([&] {
        began = true;
        if (!f.sync_lost) f.synced = f.now;
        return 0;
    });
    if (outcome != 0 && !began) f.sync_lost = true;
    return outcome;
}

int file_system::sync_names() {
    return operation([&] {
        synced_ = now_;
        unsynced_.clear();
        return 0;
    });
}

int file_system::rename(const std::string& from, const std::string& to) {
    return operation([&] {
        auto moved = find(from);
        if (!moved) return -ENOENT;
        set(from, nullptr);
        set(to, std::move(moved));
        return 0;
    });
}

int file_system::unlink(const std::string& name) {
    return operation([&] {
        if (!now_.contains(name)) return -ENOENT;
        set(name, nullptr);
        return 0;
    });
}

file_system::damage file_system::crash() {
    damage out;
    dead = false;
    bad_spell_ = 0;
    const std::uint32_t kind = dice_.below(4);
    if (kind == 0) return out;  // the process only: the kernel writes the rest
    const auto survives = [&] { return kind == 1 || (kind == 2 && dice_.chance(50)); };
    for (const change& c : unsynced_) {
        if (!survives()) {
            ++out.lost;
            continue;
        }
        if (!c.to)
            synced_.erase(c.name);
        else
            synced_[c.name] = c.to;
    }
    unsynced_.clear();
    now_ = synced_;
    for (const auto& [name, f] : now_) {
        if (f->now != f->synced) {
            ++out.torn;
            const std::uint32_t torn = dice_.below(4);
            if (torn == 0) f->now = f->synced;
            if (torn == 1) f->now.clear();
            if (torn >= 2) {
                const std::size_t whole = f->now.size();
                f->now.resize(dice_.below(static_cast<std::uint32_t>(whole) + 1));
                if (torn == 3) f->now.resize(whole);  // the length is there, and of the content only the beginning
            }
        }
        f->synced = f->now;
        f->sync_lost = false;
    }
    return out;
}

void file_system::wipe() {
    now_.clear();
    synced_.clear();
    unsynced_.clear();
}

}  // namespace simulation

// ---- Found before libc's.  What is not on a simulated disk goes to the kernel.

using namespace simulation;

extern "C" {

int openat(int at, const char* name, int flags, ...) {
    if (const opened* const o = opened_at(at)) return open_in(*o->disk, name, flags);
    if (file_system* const disk = disk_at(name)) return open_in(*disk, ".", flags);
    va_list more;
    va_start(more, flags);
    const int mode = va_arg(more, int);
    va_end(more);
    return static_cast<int>(syscall(SYS_openat, at, name, flags, mode));
}
int open(const char* name, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const int mode = va_arg(more, int);
    va_end(more);
    return openat(AT_FDCWD, name, flags, mode);
}
int close(int descriptor) {
    if (opened* const o = opened_at(descriptor)) {
        *o = {};
        return 0;
    }
    return static_cast<int>(syscall(SYS_close, descriptor));
}
ssize_t read(int descriptor, void* to, size_t size) {
    opened* const o = opened_at(descriptor);
    if (o == nullptr) return syscall(SYS_read, descriptor, to, size);
    const std::size_t n = std::min(size, o->what->now.size() - std::min(o->at, o->what->now.size()));
    if (n > 0) std::memcpy(to, o->what->now.data() + o->at, n);
    o->at += n;
    return static_cast<ssize_t>(n);
}
ssize_t write(int descriptor, const void* from, size_t size) {
    opened* const o = opened_at(descriptor);
    if (o == nullptr) return syscall(SYS_write, descriptor, from, size);
    return done(o->disk->write(*o->what, static_cast<const std::uint8_t*>(from), size));
}
int fsync(int descriptor) {
    opened* const o = opened_at(descriptor);
    if (o == nullptr) return static_cast<int>(syscall(SYS_fsync, descriptor));
    return done(o->folder ? o->disk->sync_names() : o->disk->sync(*o->what));
}
int ftruncate(int descriptor, off_t size) noexcept {
    opened* const o = opened_at(descriptor);
    if (o == nullptr) return static_cast<int>(syscall(SYS_ftruncate, descriptor, size));
    if (!o->disk->dead) o->what->now.resize(static_cast<std::size_t>(size));
    return 0;
}
int renameat(int from, const char* old_name, int to, const char* new_name) noexcept {
    opened* const o = opened_at(from);
    if (o == nullptr) return static_cast<int>(syscall(SYS_renameat, from, old_name, to, new_name));
    return done(o->disk->rename(old_name, new_name));
}
int unlinkat(int at, const char* name, int flags) noexcept {
    opened* const o = opened_at(at);
    if (o == nullptr) return static_cast<int>(syscall(SYS_unlinkat, at, name, flags));
    return done(o->disk->unlink(name));
}
int mkdir(const char* path, mode_t mode) noexcept {
    if (disk_at(path) != nullptr) return failed(EEXIST);
    return static_cast<int>(syscall(SYS_mkdir, path, mode));
}
int flock(int descriptor, int what) noexcept {
    if (opened_at(descriptor) != nullptr) return 0;  // one process a disk
    return static_cast<int>(syscall(SYS_flock, descriptor, what));
}
int faccessat(int at, const char* name, int mode, int flags) noexcept {
    if (opened_at(at) != nullptr) return 0;
    return static_cast<int>(syscall(SYS_faccessat, at, name, mode, flags));
}
int fstat(int descriptor, struct stat* about) noexcept {
    if (const opened* const o = opened_at(descriptor)) {
        describe(*o, *about);
        return 0;
    }
    return static_cast<int>(syscall(SYS_fstat, descriptor, about));
}
int fstatat(int at, const char* name, struct stat* about, int flags) noexcept {
    const opened* const o = opened_at(at);
    if (o == nullptr) return static_cast<int>(syscall(SYS_newfstatat, at, name, about, flags));
    const auto found = o->disk->find(name);
    if (!found) return failed(ENOENT);
    describe({o->disk, found, 0, false}, *about);
    return 0;
}
int stat(const char* path, struct stat* about) noexcept {
    if (file_system* const disk = disk_at(path)) {
        describe({disk, nullptr, 0, true}, *about);
        return 0;
    }
    return fstatat(AT_FDCWD, path, about, 0);
}
char* realpath(const char* path, char* to) noexcept {
    if (disk_at(path) != nullptr && to == nullptr) return strdup(path);
    return libc<char*(const char*, char*)>("realpath")(path, to);
}
DIR* fdopendir(int descriptor) {
    const opened* const o = opened_at(descriptor);
    if (o == nullptr) return libc<DIR*(int)>("fdopendir")(descriptor);
    listings.push_back(std::make_unique<listing>());
    listings.back()->descriptor = descriptor;
    for (const auto& [name, f] : o->disk->listed()) listings.back()->names.push_back(name);
    return reinterpret_cast<DIR*>(listings.back().get());
}
struct dirent* readdir(DIR* of) {
    for (const auto& l : listings) {
        if (reinterpret_cast<DIR*>(l.get()) != of) continue;
        if (l->at == l->names.size()) return nullptr;
        const std::string& name = l->names[l->at++];
        std::memcpy(l->one.d_name, name.c_str(), name.size() + 1);
        return &l->one;
    }
    return libc<struct dirent*(DIR*)>("readdir")(of);
}
int closedir(DIR* of) {
    for (auto l = listings.begin(); l != listings.end(); ++l)
        if (reinterpret_cast<DIR*>(l->get()) == of) {
            const int descriptor = (*l)->descriptor;
            listings.erase(l);
            return close(descriptor);
        }
    return libc<int(DIR*)>("closedir")(of);
}
}
