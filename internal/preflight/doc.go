// Package preflight looks at a machine before a relay runs on it, or while it
// does: ports that others have, port 25 to the outside, the clock. What it
// finds deserves an operator's eye; a Fault is in the way of a start.
//
// Everything is bounded in time, and nothing is left behind.
package preflight
