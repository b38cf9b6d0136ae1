// Package app puts all parts of a relay together: it reads the configuration,
// makes each part complete, starts it, and ends all in reverse.
//
// Nothing else reads internal/config, and nothing here decides anything about
// mail: it fits what one part needs to what another has. Two Apps with their
// own data directories can live in one process.
package app
