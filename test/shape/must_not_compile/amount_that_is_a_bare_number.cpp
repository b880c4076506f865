// expect: conversion from
#include "paychan/core/satoshi.hpp"

#ifdef CORRECT
constexpr paychan::satoshi price{5};
#else
constexpr paychan::satoshi price = 5;
#endif
static_assert(price > paychan::satoshi{0});
