// Package expiry lets what is old leave the store, once a day.
//
// What leaves, and how, is the store's: see storage.Store.Expire. Here is
// when: at 00:02 UTC, or a few minutes after the start when that was missed.
// While the clock cannot be believed nothing leaves, and a finding says so.
//
//	data_dir/expiry.json    the last run: when, and what left
package expiry
