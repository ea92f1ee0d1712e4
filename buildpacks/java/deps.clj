;; Finds out what a project of deps.edn needs for each of some sets of aliases: deps.clj OUT NAME ALIASES NAME ALIASES …
;; Writes OUT/NAME: the class path, what the JVM gets, and the words of clojure.main, one a line.
(require '[clojure.java.io :as io]
         '[clojure.string :as str]
         '[clojure.tools.deps :as deps])

(defn aliases [text] (mapv keyword (remove str/blank? (str/split text #":"))))

;; What -X and -T run: the function of the alias with its arguments.
(defn execution [argmap f]
  (let [space (or (:ns-default argmap) 'user)
        f (if (namespace f) f (symbol (str (get-in argmap [:ns-aliases space] space)) (str f)))
        args (:exec-args argmap)]
    ["-e" (str "(do ((requiring-resolve (quote " f ")) (quote " (pr-str (or args {})) ")) nil)")]))

(let [[out & sets] *command-line-args*]
  (doseq [[name spec] (partition 2 sets)]
    (let [[how text f] (str/split spec #" " 3)
          chosen (aliases (or text ""))
          tool (= how "-T")
          project (if tool {:paths ["."] :deps {}} "deps.edn")
          known (:aliases (:project-edn (deps/find-edn-maps)))
          basis (if tool
                  (deps/create-basis {:user nil :project {:paths ["."] :deps {} :aliases known} :aliases chosen})
                  (deps/create-basis {:user nil :project project :aliases chosen}))
          argmap (:argmap basis)
          f (cond (not (str/blank? (or f ""))) (symbol f) (:exec-fn argmap) (:exec-fn argmap))
          words (if (and f (#{"-X" "-T"} how)) (execution argmap f) (:main-opts argmap))]
      (spit (io/file out name)
            (str/join "\n" (concat [(str/join ":" (:classpath-roots basis)) (count (:jvm-opts argmap))] (:jvm-opts argmap) words)))))
  (shutdown-agents))
