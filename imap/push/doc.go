// Package push wakes devices that sleep: when a message arrives for an
// account, it posts each device token of the account to a notification
// gateway, which makes the platform's own service wake the app.
//
//	delivery > Notify > tokens of the account > queue > POST token > 200 done
//	                                              ^               > 410 token removed
//	                                              +-- 8, 64, 512, 4096 s later, 5 h at most
//
// A request carries the token and nothing else: no sender, no content, no
// count. It says only "look", so one that waits serves every message that came
// meanwhile, and a token is posted at most once a second. It is posted whether
// or not another device of the account is connected: nobody can tell which of
// them sleeps.
//
// A delivery waits for nothing here. Notify takes a place in a list; who looks
// for tokens, who writes to disk and who talks to the gateway do so later. What
// still waits after a tenth of a second is written to a file:
//
//	data_dir/push/queue      lines: what waits, and what no longer does
//	data_dir/push/queue.new  the same, while it is made anew
//
// So the end of the process, even by SIGKILL, loses wake-ups of the last tenth
// of a second at most, and a power cut those of the last seconds. What that
// costs is a wake-up: the message itself is safe, and the next one wakes the
// device. The file has addresses of accounts and digests of tokens; a token
// stands in its account's own file only.
//
// A gateway that is down costs one request now and then, however much waits.
package push
