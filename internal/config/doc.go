// Package config reads the one file that configures a relay.
//
// The file is TOML, and a domain alone is a full configuration. Nothing in it
// is silently ignored: an unknown key, a key in the wrong table, a wrong type
// and a wrong value are problems with line and column, and all of them are
// told at once (Errors).
//
// What a key means, its unit and its default are said once, in the comment of
// its field in config.go. Sample prints the file that is made of these
// comments, Show the values in effect.
//
// The package is a leaf: it keeps no port, reads no certificate and knows no
// part of the relay. Only internal/app reads a Config and gives each part its
// own.
package config
