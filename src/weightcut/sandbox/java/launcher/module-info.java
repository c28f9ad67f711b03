/** Nothing is exported or opened: a program cannot reach into the launcher by reflection. */
module weightcut.launcher {
}
