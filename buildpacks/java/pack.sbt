// What the image needs of an app that no plugin puts together: its jars, and a script that starts it.
lazy val gitdPack = taskKey[Unit]("Puts the app and its libraries into target/pack.")

gitdPack := {
  val log = streams.value.log
  val dir = baseDirectory.value / "target" / "pack"
  val jars = JARS
  val found = (Compile / discoveredMainClasses).value
  val usual = List("Main", "Server", "App", "Application", "WebServer", "HttpServer", "Boot")
  val main = (Compile / mainClass).value.orElse(usual.iterator.map(n => found.filter(_.split('.').last == n)).find(_.size == 1).map(_.head))
  IO.delete(dir)
  main match {
    case Some(m) =>
      val names = jars.map(_.getName).groupBy(identity).filter(_._2.size > 1).keySet
      jars.zipWithIndex.foreach { case (j, i) => IO.copyFile(j, dir / "lib" / (if (names(j.getName)) i + "-" + j.getName else j.getName)) }
      val script = dir / "bin" / name.value.toLowerCase.replaceAll("[^a-z0-9._-]+", "-")
      IO.write(script, "#!/bin/sh\nexec java $JAVA_OPTS -cp \"$(dirname \"$0\")/../lib/*\" '" + m + "' \"$@\"\n")
      script.setExecutable(true, false)
    case None if found.nonEmpty => log.warn("gitd: several main classes: " + found.sorted.mkString(", "))
    case None => ()
  }
}
