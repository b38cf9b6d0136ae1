// Package e2e holds scenarios on whole relays, told with ordinary clients:
// what a user or a client program can rely on, whatever parts do it.
package e2e
