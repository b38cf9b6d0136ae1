// Package harness runs whole relays inside a test: their own data directory,
// ports given by the kernel, certificates of a CA that only the test knows,
// and names from a DNS server that answers what the test tells it.
//
//	relay := harness.New(t, harness.Options{})
//	conn := relay.Dial(t, "imaps")
//
// A relay ends with its test. Restart ends it and starts it again on the same
// data and the same ports, as an operator would.
package harness
