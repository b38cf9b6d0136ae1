// Package filter says whether a message may pass: whether it is encrypted, or
// one of the few in the clear without which encryption cannot begin.
//
// A Walk is fed with content in pieces and gives one Verdict. It decides by
// the rules of rule.go, each of which a message under testdata guards. What is
// not understood beyond doubt does not pass.
//
//	content -> mime.Flat -> transfer encoding -> armor -> base64 -> packets
//
// No layer waits for the next: a message is judged in constant memory, some
// 10 KiB, whatever its size.
//
// Source: the behaviour specification of a chatmail relay; RFC 3156 section 4
// (PGP/MIME), RFC 9580 sections 4.2 (packet headers) and 6.2 (armor).
package filter
