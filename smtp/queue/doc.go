// Package queue decides when mail for other servers is sent, and to whom
// first. The mail itself lies in the store (storage.Queue); bringing it out is
// smtp/transmit's.
//
// An entry is one message for the recipients of one destination. Destinations
// take turns, and within one its senders do, weighted by octets. Each
// destination has a window, the number of attempts that may be under way at
// once, which opens with success and closes with failure to connect; closed
// to nothing it is a breaker, and the destination is left alone for a while.
// So a dead destination costs one attempt now and then, however much mail
// waits for it, and never delays another.
//
//	trouble with the destination   its breaker; entries wait with it
//	4xx for a recipient            the entry waits by itself
//	5xx for a recipient            its sender is told, in the same batch
//	250                            Done
//	too old                        its sender is told, with the last reply
//
// Retries are not written down: after a start everything is tried within a
// minute, at random moments.
package queue
