// Package storage has the words in which the rest of barid speaks of
// accounts and mail, and the Store interface that every engine fulfils. The
// default engine is storage/local; storage/storetest says what any must do.
//
// A write is a value: a Batch of operations that happens as a whole, is
// durable before Commit returns, or did not happen at all. A read is a View,
// what changed Since one, or the content of a set of messages. A mailbox
// rings a bell when it changed; the listener then asks Since.
//
// No path, file, lock or file name stands in any signature, so an engine on
// a database fits as it is.
package storage
